package expression

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Number is a decimal number as the service computes with: a whole number of 96
// bits, divided by a power of ten up to 28. Trailing zeros of the fraction are
// dropped, so equal numbers are equal values.
type Number struct {
	low   uint64
	high  uint32
	scale uint8
	neg   bool
}

const (
	maxScale     = 28
	maxPrecision = 29
	highTenth    = math.MaxUint32 / 10
	lowTenth     = 0x9999999999999999 // with highTenth: a tenth of the largest whole number
)

// Int makes a Number.
func Int(n int) Number {
	if n < 0 {
		return Number{low: uint64(-int64(n)), neg: true}
	}
	return Number{low: uint64(n)}
}

// Float makes a Number from the shortest decimal text of f.
func Float(f float64) (Number, bool) {
	return ParseNumber(strconv.FormatFloat(f, 'f', -1, 64))
}

// Int returns the number as an int when it is a whole number that fits.
func (n Number) Int() (int, bool) {
	if n.scale != 0 || n.high != 0 || n.low > math.MaxInt64 {
		return 0, false
	}
	if n.neg {
		return -int(n.low), true
	}
	return int(n.low), true
}

// Round returns the nearest int, of two equally near ones the even one.
func (n Number) Round() (int, bool) {
	whole := n.floor()
	rest := new(big.Int).Sub(n.whole(), new(big.Int).Mul(whole, n.unit()))
	half := rest.Lsh(rest, 1)
	if c := half.Cmp(n.unit()); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	if n.neg {
		whole.Neg(whole)
	}
	return int(whole.Int64()), whole.IsInt64()
}

// Float returns the nearest float64.
func (n Number) Float() float64 {
	f, _ := strconv.ParseFloat(n.Exact(), 64)
	return f
}

// Sign is -1, 0 or 1.
func (n Number) Sign() int {
	switch {
	case n.low == 0 && n.high == 0:
		return 0
	case n.neg:
		return -1
	default:
		return 1
	}
}

// Cmp orders numbers.
func (n Number) Cmp(o Number) int {
	a, b := n.Sign(), o.Sign()
	switch {
	case a != b:
		return a - b
	case a == 0:
		return 0
	default:
		return a * n.cmpAbs(o)
	}
}

func (n Number) cmpAbs(o Number) int {
	if n.scale == o.scale {
		return cmpWhole(n.high, n.low, o.high, o.low)
	}
	if n.scale > o.scale {
		return -o.cmpAbs(n)
	}
	if n.high == 0 && o.high == 0 && o.scale-n.scale < uint8(len(powers)) {
		if over, low := bits.Mul64(n.low, powers[o.scale-n.scale]); over <= math.MaxUint32 {
			return cmpWhole(uint32(over), low, 0, o.low)
		}
	}
	scaled := n.whole()
	scaled.Mul(scaled, Number{scale: o.scale - n.scale}.unit())
	return scaled.Cmp(o.whole())
}

func cmpWhole(ah uint32, al uint64, bh uint32, bl uint64) int {
	switch {
	case ah != bh && ah < bh || ah == bh && al < bl:
		return -1
	case ah == bh && al == bl:
		return 0
	default:
		return 1
	}
}

// powers are those of ten that fit.
var powers = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// whole is the number without its sign and its point.
func (n Number) whole() *big.Int {
	i := new(big.Int).SetUint64(uint64(n.high))
	return i.Or(i.Lsh(i, 64), new(big.Int).SetUint64(n.low))
}

// digits are those of whole, at least one more than the scale.
func (n Number) digits(buf []byte) []byte {
	if n.high == 0 {
		buf = strconv.AppendUint(buf, n.low, 10)
	} else {
		buf = n.whole().Append(buf, 10)
	}
	if missing := int(n.scale) + 1 - len(buf); missing > 0 {
		buf = append([]byte(strings.Repeat("0", missing)), buf...)
	}
	return buf
}

// shownDecimals is how many decimals a number has as text.
const shownDecimals = 7

// String prints at most seven decimals, rounded half away from zero, without
// trailing zeros.
func (n Number) String() string {
	if n.scale == 0 && n.high == 0 {
		return n.small()
	}
	var room [40]byte
	digits := n.digits(room[:0])
	point := len(digits) - int(n.scale)
	if n.scale > shownDecimals {
		digits, point = roundAt(digits, point+shownDecimals, point)
	}
	return n.join(digits, point)
}

// Exact prints all decimals.
func (n Number) Exact() string {
	if n.scale == 0 && n.high == 0 {
		return n.small()
	}
	var room [40]byte
	digits := n.digits(room[:0])
	return n.join(digits, len(digits)-int(n.scale))
}

func (n Number) small() string {
	if n.neg {
		return "-" + strconv.FormatUint(n.low, 10)
	}
	return strconv.FormatUint(n.low, 10)
}

func (n Number) join(digits []byte, point int) string {
	end := len(digits)
	for end > point && digits[end-1] == '0' {
		end--
	}
	out := make([]byte, 0, len(digits)+2)
	out = append(out, digits[:point]...)
	if end > point {
		out = append(append(out, '.'), digits[point:end]...)
	}
	if n.neg && strings.Trim(string(out), "0.") != "" {
		return "-" + string(out)
	}
	return string(out)
}

// roundAt cuts digits to so many, rounding half up.
func roundAt(digits []byte, length, point int) (rounded []byte, newPoint int) {
	up := digits[length] >= '5'
	digits = digits[:length]
	for i := length - 1; up && i >= 0; i-- {
		if up = digits[i] == '9'; up {
			digits[i] = '0'
		} else {
			digits[i]++
		}
	}
	if up {
		return append([]byte{'1'}, digits...), point + 1
	}
	return digits, point
}

// unit is the one of the number, counted in whole.
func (n Number) unit() *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.scale)), nil)
}

// floor is the whole part of a number without its sign.
func (n Number) floor() *big.Int { return new(big.Int).Quo(n.whole(), n.unit()) }

// ParseNumber reads a decimal text: optional white space around it, a sign,
// thousands commas and a point, but no exponent.
func ParseNumber(s string) (Number, bool) {
	s = strings.TrimRight(strings.TrimRight(s, "\x00"), asciiSpace)
	return parseDecimal(strings.TrimLeft(s, asciiSpace), true)
}

// asciiSpace is what a number may be surrounded by.
const asciiSpace = " \t\n\v\f\r"

// decimal collects the digits of a number while it is read.
type decimal struct {
	digits [maxPrecision + 1]byte
	count  int
	point  int  // where the point stands, counted from the first digit
	tail   bool // something other than 0 follows the digits that were kept
}

func (d *decimal) add(c byte, fraction bool) {
	if c == '0' && d.count == 0 {
		if fraction {
			d.point--
		}
		return
	}
	if d.count < len(d.digits) {
		d.digits[d.count] = c
		d.count++
	} else if c != '0' {
		d.tail = true
	}
	if !fraction {
		d.point++
	}
}

// parseDecimal reads sign, digits and point. Commas may stand anywhere between
// the first digit and the point, as the service's own library has it.
func parseDecimal(s string, thousands bool) (Number, bool) {
	neg := strings.HasPrefix(s, "-")
	if neg || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	var d decimal
	fraction, any := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			any = true
			d.add(c, fraction)
		case c == '.' && !fraction:
			fraction = true
		case c == ',' && thousands && any && !fraction:
		default:
			return Number{}, false
		}
	}
	if !any {
		return Number{}, false
	}
	n, ok := d.number()
	n.neg = neg && n.Sign() != 0
	return n, ok
}

// number makes the number of the digits. What does not fit behind the point is
// rounded half to even; what does not fit in front of it is no number.
func (d *decimal) number() (Number, bool) {
	if d.count == 0 {
		return Number{}, true
	}
	if d.point > maxPrecision {
		return Number{}, false
	}
	var n Number
	at, left := 0, d.point // left: digits still to come in front of the point
	next := func() byte {
		if at < d.count {
			return d.digits[at]
		}
		return 0
	}
	for c := next(); (left > 0 || c != 0 && left > -maxScale) && n.roomFor(c); c = next() {
		n.push(c)
		at++
		left--
	}
	if c := next(); c > '5' || c == '5' && (n.low&1 == 1 || at+1 < d.count && strings.Trim(string(d.digits[at+1:d.count]), "0") != "" || d.tail) {
		if n.low++; n.low == 0 {
			if n.high++; n.high == 0 {
				n.high, n.low = highTenth, lowTenth+1
				left++
			}
		}
	}
	switch {
	case left > 0:
		return Number{}, false
	case left < -maxScale:
		return Number{}, true
	}
	n.scale = uint8(-left)
	return n.trimmed(), true
}

// roomFor reports whether one more digit fits into 96 bits.
func (n Number) roomFor(c byte) bool {
	return n.high < highTenth || n.high == highTenth && (n.low < lowTenth || n.low == lowTenth && c <= '5')
}

func (n *Number) push(c byte) {
	over, low := bits.Mul64(n.low, 10)
	var carry uint64
	if c != 0 {
		low, carry = bits.Add64(low, uint64(c-'0'), 0)
	}
	n.high, n.low = n.high*10+uint32(over+carry), low
}

// trimmed drops zeros at the end of the fraction.
func (n Number) trimmed() Number {
	for n.scale > 0 {
		high, rest := bits.Div64(0, uint64(n.high), 10)
		low, rest := bits.Div64(rest, n.low, 10)
		if rest != 0 {
			break
		}
		n.high, n.low, n.scale = uint32(high), low, n.scale-1
	}
	return n
}
