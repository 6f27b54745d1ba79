// The page asks for itself again when something it shows has changed, and morphs
// the parts marked data-live. The server tells only that something changed, so a
// lost event costs time and never truth.
import { morph } from './morph.js';

let source, timer, lastPaint = 0, lastEvent = Date.now(), lostAt = 0, busy = false, again = false;
const listeners = new Set();
const minGap = 250; // at most four paints per second

export const onChange = (fn) => listeners.add(fn);

export function serverNow() { return Date.now() + offset; }
let offset = 0;

export function start() {
  setClock(document);
  setInterval(tick, 500);
  tick();
  const poll = Number(document.querySelector('main')?.dataset.poll || 0);
  if (poll) setInterval(() => { if (!document.hidden && !lostAt) schedule(); }, poll);
  connect();
  document.addEventListener('visibilitychange', () => {
    document.documentElement.classList.toggle('paused', document.hidden);
    if (document.hidden) { source?.close(); source = null; } else { connect(); schedule(); }
  });
}

function connect() {
  const keys = document.body.dataset.keys;
  if (!keys || source || document.hidden) return;
  source = new EventSource('/events?keys=' + encodeURIComponent(keys));
  // What changed between the drawing of the page and now was not announced to it.
  source.onopen = () => { lostAt = 0; schedule(); state(); };
  source.addEventListener('changed', (e) => {
    lastEvent = Date.now();
    const changed = e.data.split(' ');
    for (const fn of listeners) fn(changed);
    // Log lines have their own reader; the rest of the page follows the run.
    if (changed.some((k) => !k.startsWith('log/'))) schedule();
  });
  source.addEventListener('beat', () => { lastEvent = Date.now(); });
  source.onerror = () => {
    if (!lostAt) lostAt = Date.now();
    state();
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(connect, 2000); }
  };
}

function schedule() {
  if (timer) return;
  timer = setTimeout(() => { timer = 0; refresh(); }, Math.max(0, lastPaint + minGap - Date.now()));
}

export async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const r = await fetch(location.href, { headers: { 'X-Live': '1' }, redirect: 'follow' });
    if (r.ok && !r.redirected) paint(parse(await r.text()));
  } catch { /* the event stream says when the server is back */ }
  busy = false;
  if (again) { again = false; schedule(); }
}

export const parse = (text) => new DOMParser().parseFromString(text, 'text/html');

export function paint(doc) {
  lastPaint = Date.now();
  setClock(doc);
  for (const want of doc.querySelectorAll('[data-live]')) {
    const have = document.getElementById(want.id);
    if (have) morph(have, document.importNode(want, true));
  }
  if (doc.title) document.title = doc.title;
  tick();
  document.dispatchEvent(new CustomEvent('painted'));
}

function setClock(doc) {
  const t = Date.parse(doc.documentElement.dataset.now || '');
  if (t) offset = t - Date.now();
}

function state() {
  document.documentElement.classList.toggle('stale', lostAt > 0);
  const el = document.getElementById('liveness');
  if (!el) return;
  const text = lostAt ? 'Not live since ' + new Date(lostAt).toLocaleTimeString('en-GB') + ', trying again'
    : 'Live, last event ' + ago((Date.now() - lastEvent) / 1000);
  if (el.textContent !== text) el.textContent = text;
}

function tick() {
  if (source || lostAt) state();
  for (const el of document.querySelectorAll('[data-until]')) {
    const left = Math.max(0, Math.ceil((Date.parse(el.dataset.until) - serverNow()) / 1000));
    const text = el.dataset.clock !== undefined ? clock(left) : remaining(left);
    if (el.textContent !== text) el.textContent = text;
  }
  for (const el of document.querySelectorAll('[data-since]')) {
    const s = Math.max(0, Math.floor((serverNow() - Date.parse(el.dataset.since)) / 1000));
    const text = clock(s);
    if (el.textContent !== text) el.textContent = text;
  }
  for (const el of document.querySelectorAll('time[datetime]')) {
    const s = (serverNow() - Date.parse(el.getAttribute('datetime'))) / 1000;
    if (s >= 0 && s < 7 * 86400 && el.dataset.rel !== undefined) {
      const text = ago(s);
      if (el.textContent !== text) el.textContent = text;
    }
  }
}

export function clock(s) {
  if (s >= 5400) return Math.round(s / 60) + ' min';
  return Math.floor(s / 60) + ':' + String(Math.floor(s % 60)).padStart(2, '0');
}

function remaining(s) {
  if (s < 120) return s + ' s';
  if (s < 7200) return Math.round(s / 60) + ' min';
  if (s < 172800) return Math.round(s / 3600) + ' h';
  return Math.round(s / 86400) + ' d';
}

export function ago(s) {
  if (s < 5) return 'now';
  if (s < 60) return Math.floor(s) + ' s ago';
  if (s < 3600) return Math.floor(s / 60) + ' min ago';
  if (s < 86400) return Math.floor(s / 3600) + ' h ago';
  return Math.floor(s / 86400) + ' d ago';
}
