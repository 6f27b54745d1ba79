package checkout

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"storefront.example/price"
)

// Sign proves to the payment service that an order comes from this shop.
func Sign(key, order string, total price.Cents) (string, error) {
	if key == "" {
		return "", errors.New("the payment key is not configured")
	}
	if total <= 0 {
		return "", fmt.Errorf("order %s: nothing to pay", order)
	}
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s\n%s\n", order, total)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// Verify is what the payment service does with a signature.
func Verify(key, order string, total price.Cents, signature string) bool {
	want, err := Sign(key, order, total)
	return err == nil && hmac.Equal([]byte(want), []byte(signature))
}
