// Package price counts money in cents, so that nothing is lost in floating point.
package price

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Cents is an amount of euro cents.
type Cents int64

// roundUpFrom is the third decimal from which on a price goes up to the next cent.
const roundUpFrom = 5

// maxEuro bounds what a price may be, far below where Cents would overflow.
const maxEuro = 1_000_000_000

// Parse reads an amount like 19.99. More than two decimals are rounded to the
// nearest cent: 19.994 is 19.99, 19.995 is 20.00.
func Parse(s string) (Cents, error) {
	whole, fraction, _ := strings.Cut(strings.TrimSpace(s), ".")
	euro, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || euro > maxEuro {
		return 0, fmt.Errorf("price %q: not an amount", s)
	}
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("price %q: not an amount", s)
		}
	}
	digits := (fraction + "000")[:3]
	cents := Cents(euro)*100 + Cents(digits[0]-'0')*10 + Cents(digits[1]-'0')
	if digits[2]-'0' >= roundUpFrom {
		cents++
	}
	return cents, nil
}

// String is the amount with two decimals: 19.99.
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s%d.%02d", sign, c/100, c%100)
}

// Euro is the amount for people: €19.99.
func (c Cents) Euro() string {
	if c < 0 {
		return "-€" + (-c).String()
	}
	return "€" + c.String()
}

// Times is the price of a number of things.
func (c Cents) Times(quantity int) (Cents, error) {
	if quantity < 1 || quantity > 100 {
		return 0, errors.New("quantity: from 1 to 100")
	}
	return c * Cents(quantity), nil
}

// Discount takes off a percentage, rounded in the buyer's favour.
func (c Cents) Discount(percent int) Cents {
	return c - (c*Cents(percent)+99)/100
}

// VATIncluded is the tax inside an amount, rounded to the nearest cent.
func (c Cents) VATIncluded(percent int) Cents {
	part, whole := c*Cents(percent), Cents(100+percent)
	return (part + whole/2) / whole
}
