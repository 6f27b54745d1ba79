// Package smoke holds the few tests of a release in production. They run only with
// the build tag smoke and need STOREFRONT_URL and EXPECT_VERSION.
package smoke
