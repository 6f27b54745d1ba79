// Package shop is the storefront's web application.
package shop

import (
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"storefront.example/checkout"
	"storefront.example/price"
)

// Options are what a Shop is made of.
type Options struct {
	Web        string // folder with templates, style and shop.xml
	Version    string
	PaymentKey string // signs orders; without it nothing can be bought
	Logger     *slog.Logger
}

// Shop answers the storefront's requests.
type Shop struct {
	o     Options
	title string
	pages *template.Template
	mux   *http.ServeMux
	loads loads
}

// product is something that can be bought.
type product struct {
	SKU, Name, About string
	Price            price.Cents
}

var products = []product{
	{"mug", "Enamel mug", "Keeps coffee warm and survives the office.", 1250},
	{"tea", "Assam tea, 100 g", "Strong enough for a Monday.", 499},
	{"pot", "Teapot", "One litre, cast iron.", 5990},
	{"tin", "Biscuit tin", "Empty. The biscuits are your part.", 899},
}

// New reads the pages and returns the application.
func New(o Options) (*Shop, error) {
	s := &Shop{o: o, mux: http.NewServeMux()}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	data, err := os.ReadFile(filepath.Join(o.Web, "shop.xml"))
	if err != nil {
		return nil, err
	}
	var settings struct {
		Title string `xml:"title"`
	}
	if err := xml.Unmarshal(data, &settings); err != nil {
		return nil, fmt.Errorf("shop.xml: %w", err)
	}
	s.title = settings.Title
	if s.pages, err = template.ParseGlob(filepath.Join(o.Web, "*.html")); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("GET /{$}", s.home)
	s.mux.HandleFunc("GET /products", s.list)
	s.mux.HandleFunc("GET /checkout", s.basket)
	s.mux.HandleFunc("POST /checkout", s.buy)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	s.mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, o.Version) })
	s.mux.HandleFunc("GET /load", s.loads.report)
	s.mux.HandleFunc("GET /slow", slow)
	s.mux.Handle("GET /style.css", http.FileServer(http.Dir(o.Web)))
	return s, nil
}

// ServeHTTP names the version in every answer, so that a test can tell who spoke.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Storefront-Version", s.o.Version)
	s.loads.count(r)
	s.mux.ServeHTTP(w, r)
}

// view is what the templates see.
type view struct {
	Title, Version string
	Products       []product
	Lines          []checkout.Line
	Total, Tax     price.Cents
}

func (s *Shop) show(w http.ResponseWriter, page string, v view) {
	v.Title, v.Version = s.title, s.o.Version
	var b strings.Builder
	if err := s.pages.ExecuteTemplate(&b, page, v); err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String()))
}

func (s *Shop) fail(w http.ResponseWriter, err error) {
	s.o.Logger.Error("request failed", "error", err)
	http.Error(w, "Something went wrong on our side.", http.StatusInternalServerError)
}

func (s *Shop) home(w http.ResponseWriter, _ *http.Request) {
	s.show(w, "home.html", view{Products: products})
}

func (s *Shop) list(w http.ResponseWriter, _ *http.Request) {
	s.show(w, "products.html", view{Products: products})
}

// basket shows what one of everything costs, and the tax in it.
func (s *Shop) basket(w http.ResponseWriter, r *http.Request) {
	var lines []checkout.Line
	for _, p := range products {
		lines = append(lines, checkout.Line{Name: p.Name, Price: p.Price, Quantity: 1})
	}
	total, err := checkout.Total(lines)
	if err != nil {
		s.fail(w, err)
		return
	}
	tax, err := checkout.Tax(r.Host, total)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.show(w, "checkout.html", view{Products: products, Lines: lines, Total: total, Tax: tax})
}

// item is one line of an order as it is sent.
type item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// receipt answers an order.
type receipt struct {
	Order     string `json:"order"`
	Total     string `json:"total"`
	Signature string `json:"signature"`
	Version   string `json:"version"`
}

// buy takes an order, adds it up and signs it.
func (s *Shop) buy(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	items, err := readItems(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var lines []checkout.Line
	for _, it := range items {
		p, ok := find(it.SKU)
		if !ok {
			http.Error(w, fmt.Sprintf("we do not have %q", it.SKU), http.StatusUnprocessableEntity)
			return
		}
		lines = append(lines, checkout.Line{Name: p.Name, Price: p.Price, Quantity: it.Quantity})
	}
	total, err := checkout.Total(lines)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	order := rand.Text()
	signature, err := checkout.Sign(s.o.PaymentKey, order, total)
	if err != nil {
		s.o.Logger.Error("order not signed", "error", err)
		http.Error(w, "payment is not available", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(receipt{order, total.String(), signature, s.o.Version})
}

// readItems reads an order as JSON, or as the form of the checkout page.
func readItems(r *http.Request) ([]item, error) {
	var order struct {
		Items []item `json:"items"`
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		n, err := strconv.Atoi(r.FormValue("quantity"))
		if err != nil {
			return nil, errors.New("quantity: a number")
		}
		order.Items = []item{{r.FormValue("sku"), n}}
	} else if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		return nil, errors.New(`expected {"items":[{"sku":"mug","quantity":1}]}`)
	}
	if len(order.Items) == 0 {
		return nil, errors.New("the order is empty")
	}
	return order.Items, nil
}

func find(sku string) (product, bool) {
	for _, p := range products {
		if p.SKU == sku {
			return p, true
		}
	}
	return product{}, false
}
