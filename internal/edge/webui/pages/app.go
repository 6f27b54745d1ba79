package pages

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/routing"
)

// Phase is a step of a swap as people follow it.
type Phase struct {
	Name, When, What string
	Mark             Mark
}

// SwapMark is how a swap looks.
func SwapMark(w *application.Swap) Mark {
	switch w.State {
	case application.SwapPreparing:
		return Mark{"run", "run", "Preparing"}
	case application.SwapPublished:
		return Mark{"run", "run", "Draining"}
	case application.SwapDrained:
		return Mark{"ok", "ok", "Drained"}
	}
	return Mark{"bad", "bad", "Failed, nothing moved"}
}

// BackendMark is how a VM's probe looks.
func BackendMark(h routing.BackendHealth) Mark {
	switch h.State {
	case "healthy":
		return Mark{"ok", "ok", "Healthy"}
	case "unhealthy":
		return Mark{"bad", "bad", "Unhealthy"}
	}
	return Mark{"todo", "off", "Not probed yet"}
}

// phaseOf names the phases in their order with the journal words that fill them.
var phaseOf = []struct{ name, words, todo string }{
	{"Check", "probe", "every VM is asked"}, {"Warm up", "warm", "requests ahead of users"}, {"Prepare", "prepare", "every node holds it"},
	{"Publish", "publish", "users move"}, {"Drain", "drain", "the old side ends"}, {"Settle", "", "the old side stays warm"},
}

// PhasesOf says how far the last swap has come.
func PhasesOf(v *AppView) []Phase {
	w := v.Swap
	var list []Phase
	ended := w.State == application.SwapDrained
	failed := w.State == application.SwapFailed
	for _, p := range phaseOf {
		ph := Phase{Name: p.name, What: p.todo, When: "then", Mark: Mark{"todo", "off", ""}}
		at := slices.IndexFunc(w.Journal, func(e application.JournalEntry) bool { return p.words != "" && strings.HasPrefix(e.What, p.words) })
		switch {
		case at >= 0:
			e := w.Journal[at]
			ph.When, ph.What, ph.Mark = e.Time.Format("15:04:05.000"), Clip(e.Text, 44), Mark{"ok", "ok", ""}
			if !e.OK {
				ph.Mark = Mark{"bad", "bad", ""}
			}
		case p.name == "Drain" && w.State == application.SwapPublished:
			ph.When, ph.What, ph.Mark = "since "+Took(w.PublishedAt, time.Time{}, v.Now), drainNote(v), Mark{"run", "run", ""}
		case p.name == "Settle" && ended:
			ph.When, ph.What, ph.Mark = w.DrainedAt.Format("15:04:05"), or(w.OldSlot, "the first slot")+" is settled", Mark{"ok", "ok", ""}
		case p.name == "Warm up" && (!w.PublishedAt.IsZero() || failed):
			ph.When, ph.What, ph.Mark = "not asked for", "no warmUp in its file", Mark{"skip", "off", ""}
		case failed:
			ph.When, ph.What, ph.Mark = "", "not reached", Mark{"none", "off", ""}
		case w.OldSlot == "" && !w.PublishedAt.IsZero():
			ph.When, ph.What, ph.Mark = "nothing", "there was no production", Mark{"skip", "off", ""}
		}
		list = append(list, ph)
	}
	return list
}

func drainNote(v *AppView) string {
	if s := v.Pointing(); s != nil && s.Until.After(v.Now) {
		return "DNS " + Left(s.Until, v.Now) + " more"
	}
	return "requests of the old side"
}

// Pointing is the slot that lost traffic with the last swap, while something may
// still point at it.
func (a *AppView) Pointing() *SlotView {
	if a.Swap == nil || a.Swap.OldSlot == "" || a.Swap.PublishedAt.IsZero() {
		return nil
	}
	for _, s := range a.Slots {
		if s.Slot.Name == a.Swap.OldSlot && !s.Live() {
			return s
		}
	}
	return nil
}

// Pair are the two slots the conduit is drawn for: production, and the other
// one that carries or carried users.
func (a *AppView) Pair() (first, second *SlotView) {
	list := a.Ordered()
	if len(list) > 0 {
		first = list[0]
	}
	if len(list) > 1 {
		second = list[1]
	}
	return first, second
}

// Ordered puts production first, then what carried users, then what may next.
func (a *AppView) Ordered() []*SlotView {
	rank := map[string]int{application.Production: 0, application.Previous: 1, application.Staging: 2, application.Idle: 3}
	list := slices.Clone(a.Slots)
	slices.SortStableFunc(list, func(x, y *SlotView) int { return rank[x.Slot.Role] - rank[y.Slot.Role] })
	return list
}

// PipeDrawing is the water of the conduit.
type PipeDrawing struct {
	Upper, Lower, Gate, Text string
	Flow                     bool
}

// Pipes computes the water: each branch is filled by its share of requests; a
// production slot without requests is full, because it would take them.
func Pipes(a, b *SlotView) PipeDrawing {
	if a == nil || !a.Live() {
		return PipeDrawing{Gate: "M120 118V212", Text: "No traffic: nothing is in production"}
	}
	up, down := a.Share, 0.0
	if b != nil {
		down = b.Share
	}
	if up+down == 0 {
		up = 1
	}
	d := PipeDrawing{Flow: a.Rate > 0, Text: fmt.Sprintf("%s of traffic flows to slot %s", Percent(up, up+down), a.Slot.Name), Gate: "M210 174V246"}
	const bore = 80
	h := bore * up / (up + down)
	d.Upper = fmt.Sprintf("M0 %.1fH90C195 %.1f 195 %.1f 300 %.1fV46C195 46 195 125 90 125H0Z", 125+h, 125+h, 46+h, 46+h)
	if down > 0 {
		l := max(bore-h, 2)
		d.Lower = fmt.Sprintf("M0 205H90C195 205 195 284 300 284V%.1fC195 %.1f 195 %.1f 90 %.1fH0Z", 284-l, 284-l, 205-l, 205-l)
		d.Text += ", " + Percent(down, up+down) + " to slot " + b.Slot.Name
	}
	if b == nil {
		d.Gate = "M210 174V246"
	}
	return d
}
