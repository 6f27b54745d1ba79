package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const events = `{"Time":"2026-01-02T03:04:05Z","Action":"start","Package":"shop/price"}
{"Action":"run","Package":"shop/price","Test":"TestGood"}
{"Action":"pass","Package":"shop/price","Test":"TestGood","Elapsed":0.01}
{"Action":"run","Package":"shop/price","Test":"TestBad"}
{"Action":"output","Package":"shop/price","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"shop/price","Test":"TestBad","Output":"    price_test.go:9: 19.994 \u2192 want <19.99>\u001b\n"}
{"Action":"fail","Package":"shop/price","Test":"TestBad","Elapsed":0.02}
{"Action":"skip","Package":"shop/price","Test":"TestLater","Elapsed":0}
{"Action":"fail","Package":"shop/price","Elapsed":0.1}
not an event
{"ImportPath":"shop/broken","Action":"build-output","Output":"x.go:1: syntax error\n"}
{"ImportPath":"shop/broken","Action":"build-fail"}
{"Action":"fail","Package":"shop/broken","Elapsed":0,"FailedBuild":"shop/broken"}
{"Action":"skip","Package":"shop/empty","Elapsed":0}
`

func TestConvert(t *testing.T) {
	var printed strings.Builder
	s, err := convert(strings.NewReader(events), &printed)
	if err != nil {
		t.Fatal(err)
	}
	if s.Tests != 4 || s.Failures != 2 || s.Skipped != 1 || len(s.Suites) != 2 || !s.broken {
		t.Errorf("%+v", s)
	}
	if got := s.Suites[0].Cases[1].Failure.Message; got != "price_test.go:9: 19.994 → want <19.99>" {
		t.Errorf("message %q", got)
	}
	for _, want := range []string{"19.994", "not an event", "syntax error"} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("%q was not printed", want)
		}
	}
	file := filepath.Join(t.TempDir(), "results", "TEST-unit.xml")
	if err := write(file, s); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back testsuites
	if err := xml.Unmarshal(data, &back); err != nil || back.Tests != 4 || back.Suites[0].Timestamp != "2026-01-02T03:04:05" {
		t.Errorf("%v %+v", err, back)
	}
}

func TestNothingIsAnError(t *testing.T) {
	if _, err := convert(strings.NewReader(""), io.Discard); err == nil {
		t.Error("no events were accepted")
	}
}
