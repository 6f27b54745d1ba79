// Package integration holds the tests that need a secret: PAYMENT_KEY. They run
// only with the build tag integration.
package integration
