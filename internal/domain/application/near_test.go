package application

import "testing"

func TestNear(t *testing.T) {
	for in, want := range map[string]bool{"storefront": true, "storefornt": true, "storefron": true, "store-front": true, "shop": false, "": false} {
		if near("storefront", in) != want {
			t.Errorf("near(storefront, %s) is not %v", in, want)
		}
	}
}
