// Charts over time. The numbers come with the page as a table, which stays
// reachable as the chart's text form; the marks of swaps and releases stand on
// every chart.
import { onChange } from './live.js';

const probe = document.createElement('i');
const colour = (name) => { probe.className = 'probe'; probe.style.color = 'var(--' + name + ')'; document.body.append(probe); const c = getComputedStyle(probe).color; probe.remove(); return c; };
const sync = uPlot.sync('time');
const plots = [];

function draw(el) {
  const d = el._data;
  const ink = { water: colour('water'), 'ink-3': colour('ink-3'), bad: colour('bad') };
  const axis = colour('ink-3'), line = colour('line'), firm = colour('ink'), paper = colour('surface');
  const font = '11px ' + getComputedStyle(document.body).fontFamily;
  const unit = el.dataset.unit;
  el.replaceChildren();
  const opts = {
    width: el.clientWidth, height: Number(el.dataset.height || 170), padding: [22, 8, 0, 0],
    cursor: { sync: { key: sync.key }, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { show: false },
    scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.1 || 1, Number(el.dataset.least || 0))] } },
    axes: [
      { stroke: axis, font, grid: { show: false }, ticks: { stroke: line, width: 1, size: 4 }, size: 28, values: (u, s) => s.map((t) => new Date(t * 1000).toLocaleTimeString('en-GB', span(u) > 1200 ? { hour: '2-digit', minute: '2-digit' } : {})) },
      { stroke: axis, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 56, values: (u, s, i) => s.map((v, k) => number(v) + (k === s.length - 1 ? ' ' + unit : '')) },
    ],
    series: [{}, ...d.series.map((s) => ({
      label: s.name, stroke: ink[s.ink] || axis, width: s.live ? 2 : 1.4, dash: s.live ? [] : [5, 3],
      fill: s.live ? ink.water.replace('rgb(', 'rgba(').replace(')', ', .13)') : undefined, points: { show: unit === 'ms' ? undefined : false, size: 3 }, spanGaps: false,
    }))],
    hooks: { drawClear: [], draw: [(u) => marks(u, d.marks, firm, paper, font)], setCursor: [(u) => read(el, u, d, unit)] },
  };
  const p = new uPlot(opts, d.points, el);
  el._plot = p;
  read(el, p, d, unit);
}

const span = (u) => (u.data[0].length ? u.data[0][u.data[0].length - 1] - u.data[0][0] : 0);

function number(v) {
  if (v >= 1000) return v.toLocaleString('en', { maximumFractionDigits: 0 });
  return v.toLocaleString('en', { maximumFractionDigits: v < 10 ? 2 : 0 });
}

// A swap is a solid line with a filled tag, a release a dotted one with an
// outlined tag.
function marks(u, list, firm, paper, font) {
  const c = u.ctx, r = devicePixelRatio;
  c.save();
  c.font = '600 ' + 10 * r + 'px ' + font.slice(5);
  c.textBaseline = 'middle';
  c.textAlign = 'left';
  let edge = Infinity;
  for (const m of [...list].reverse()) { // of tags that would overlap, the newest is written
    const x = u.valToPos(m.t, 'x', true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    c.strokeStyle = firm;
    c.lineWidth = 1.5 * r;
    c.setLineDash(m.kind === 'swap' ? [] : [2 * r, 3 * r]);
    c.beginPath(); c.moveTo(x, u.bbox.top - 8 * r); c.lineTo(x, u.bbox.top + u.bbox.height); c.stroke();
    c.setLineDash([]);
    const w = c.measureText(m.text).width + 8 * r;
    let left = x;
    if (left + w > u.bbox.left + u.bbox.width) left = x - w;
    if (left + w > edge) continue; // the list of events names them all
    edge = left - 2 * r;
    c.fillStyle = m.kind === 'swap' ? firm : paper;
    c.fillRect(left, u.bbox.top - 20 * r, w, 14 * r);
    if (m.kind !== 'swap') { c.lineWidth = r; c.strokeRect(left, u.bbox.top - 20 * r, w, 14 * r); }
    c.fillStyle = m.kind === 'swap' ? paper : firm;
    c.fillText(m.text, left + 4 * r, u.bbox.top - 12.5 * r);
  }
  c.restore();
}

function read(el, u, d, unit) {
  const out = document.getElementById(el.dataset.reading);
  if (!out) return;
  const i = u.cursor.idx ?? Math.max(0, d.points[0].length - 1);
  if (i < 0) { out.textContent = ''; return; }
  const at = u.cursor.idx == null ? 'now' : new Date(d.points[0][i] * 1000).toLocaleTimeString('en-GB');
  out.textContent = at + ': ' + d.series.map((s, k) => s.name + ' ' + (d.points[k + 1][i] == null ? 'none' : number(d.points[k + 1][i]) + ' ' + unit)).join(', ');
}

function all() { for (const el of plots) draw(el); }

async function load() {
  for (const el of document.querySelectorAll('[data-chart]')) {
    if (!plots.includes(el)) plots.push(el);
  }
  if (!plots.length || document.hidden) return;
  let data;
  try { data = await (await fetch(plots[0].dataset.src)).json(); } catch { return; }
  for (const el of plots) {
    const d = data[el.dataset.chart];
    d.marks = data.marks;
    el._data = d;
    if (!el._plot || el._names !== d.series.map((s) => s.name + s.ink).join()) { el._names = d.series.map((s) => s.name + s.ink).join(); draw(el); }
    else if (el._plot.cursor.idx == null) { el._plot.setData(d.points); read(el, el._plot, d, el.dataset.unit); }
  }
}

document.addEventListener('keydown', (e) => {
  const el = e.target.closest?.('[data-chart]');
  const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
  if (!el || !by || !el._plot) return;
  e.preventDefault();
  const u = el._plot, n = u.data[0].length;
  const i = Math.max(0, Math.min(n - 1, (u.cursor.idx ?? n - 1) + by));
  u.setCursor({ left: u.valToPos(u.data[0][i], 'x'), top: 10 });
});
document.addEventListener('theme', all);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', all);
let resized = 0;
addEventListener('resize', () => { clearTimeout(resized); resized = setTimeout(all, 100); });
load();
setInterval(load, Number(document.querySelector('[data-chart]')?.dataset.every || 2000));
onChange((changed) => { if (changed.some((k) => k.startsWith('app'))) load(); });
