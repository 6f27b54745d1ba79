// Package checkout adds up a basket, says which tax is in it, and signs orders.
package checkout

import (
	"fmt"
	"net"
	"strings"

	"storefront.example/price"
)

// The regions whose tax a page shows: one for the names customers use, one for
// everything else (staging, an address, a developer's machine).
const (
	productionRegion = "eu"
	trialRegion      = "eu"
)

// vat is the tax by region, in percent.
var vat = map[string]int{"eu": 19, "ch": 8}

// Line is one line of a basket.
type Line struct {
	Name     string
	Price    price.Cents
	Quantity int
}

// Total adds up a basket.
func Total(lines []Line) (price.Cents, error) {
	var sum price.Cents
	for _, l := range lines {
		part, err := l.Price.Times(l.Quantity)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", l.Name, err)
		}
		sum += part
	}
	return sum, nil
}

// Tax is the tax inside an amount for the shop that a host name stands for.
func Tax(host string, amount price.Cents) (price.Cents, error) {
	region := productionRegion
	if isTrial(host) {
		region = trialRegion
	}
	percent, ok := vat[region]
	if !ok {
		return 0, fmt.Errorf("no tax is known for region %q of %s", region, host)
	}
	return amount.VATIncluded(percent), nil
}

// isTrial reports whether a host is not one that customers use.
func isTrial(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasPrefix(host, "staging.") || net.ParseIP(strings.Trim(host, "[]")) != nil
}
