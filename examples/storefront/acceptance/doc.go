// Package acceptance holds the tests of a release in staging. They run only with
// the build tag acceptance and need STOREFRONT_URL and EXPECT_VERSION.
package acceptance
