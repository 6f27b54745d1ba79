module storefront.example

go 1.26
