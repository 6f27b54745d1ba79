package webui

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestConnectionsAreMadeAndDeleted(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"name": {"web-1"}, "type": {"ssh"}, "username": {"deploy"}, "password": {"hidden-pass"}, "privatekey": {"-----BEGIN KEY-----\r\nhidden-key\r\n-----END KEY-----\r\n"},
		"data": {"Host=web-1.example\r\nPort = 22\r\n\r\n"}}
	if out := w.ask("POST", "/harbor/shop/connections", "contributor", form); out.Code != http.StatusForbidden {
		t.Errorf("a contributor makes one: %d", out.Code)
	}
	if out := w.ask("POST", "/harbor/shop/connections", "admin", form); out.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", out.Code, firstError(out.Body.String()))
	}
	c, err := w.s.Connections.Find(w.ctx(), w.project.ID, "WEB-1")
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.s.Connections.Open(w.ctx(), c, "test")
	if err != nil || o.Scheme != "UsernamePassword" || o.Datum("PrivateKey") != "-----BEGIN KEY-----\nhidden-key\n-----END KEY-----" || o.Datum("Port") != "22" || o.Parameter("password") != "hidden-pass" {
		t.Errorf("%+v, %v", o, err)
	}
	stranger := url.Values{"name": {"other"}, "type": {"generic"}, "url": {evil}, "username": {evil}, "data": {evil + "=" + evil}}
	if out := w.ask("POST", "/harbor/shop/connections", "admin", stranger); out.Code == http.StatusSeeOther && strings.Contains(w.ask("GET", "/harbor/shop/connections", "admin", nil).Body.String(), evil) {
		t.Error("text of a stranger is not escaped")
	}
	for who, manages := range map[string]bool{"reader": false, "admin": true} {
		body := w.ask("GET", "/harbor/shop/connections", who, nil).Body.String()
		if strings.Contains(body, "hidden-") || !strings.Contains(body, "web-1.example") || !strings.Contains(body, "password, PrivateKey") || strings.Contains(body, "New service connection") != manages {
			t.Errorf("%s sees\n%s", who, body)
		}
	}
	for _, data := range []string{"no line", "Host"} {
		if out := w.ask("POST", "/harbor/shop/connections", "admin", url.Values{"name": {"x"}, "type": {"ssh"}, "data": {data}}); out.Code != http.StatusUnprocessableEntity {
			t.Errorf("data %q: %d", data, out.Code)
		}
	}
	f, err := w.s.SecureFiles.Upload(w.ctx(), w.project.ID, "signing.p12", []byte("certificate"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.s.SecureFiles.Upload(w.ctx(), w.other.ID, "theirs.p12", []byte("certificate"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/connections/" + c.ID + "/delete": http.StatusSeeOther, "/securefiles/" + f.ID + "/delete": http.StatusSeeOther, "/securefiles/" + other.ID + "/delete": http.StatusNotFound, "/connections/none/delete": http.StatusNotFound} {
		if out := w.ask("POST", "/harbor/shop"+path, "admin", url.Values{}); out.Code != want {
			t.Errorf("%s: %d, want %d", path, out.Code, want)
		}
	}
	body := w.ask("GET", "/harbor/shop/connections", "reader", nil).Body.String()
	if strings.Contains(body, "web-1.example") || strings.Contains(body, "signing.p12") {
		t.Error("what was deleted is still shown")
	}
}
