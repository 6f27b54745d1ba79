// The log viewer: a fixed number of rows in the document, lines fetched by
// range, groups folded from an index that the server computes.
import { onChange } from './live.js';
import { keys } from './keys.js';
import { copyText } from './app.js';

const box = document.getElementById('log');
if (box) new Viewer(box);

function Viewer(box) {
  const rowHeight = 19, chunk = 400, maxHeight = 8e6;
  const src = box.dataset.src; // …/log?attempt=1&step=3
  const chunks = new Map();
  const status = document.getElementById('log-status');
  const fresh = document.getElementById('log-new');
  let total = 0, index = { groups: [], errors: [], warnings: [] }, closed = new Set(), hidden = [], rows = 0;
  let follow = box.dataset.follow === '1', times = false, from = 0, to = 0, hits = [], hitAt = -1, queued = false, wanted = 0, seen = 0;

  box.replaceChildren();
  const pad = document.createElement('div');
  const view = document.createElement('div');
  pad.className = 'log-pad';
  view.className = 'log-view';
  pad.append(view);
  box.append(pad);
  box.classList.add('virtual');

  const get = (part, query) => fetch(src.replace('/log?', '/log' + part + '?') + query).then((r) => (r.ok ? r.json() : Promise.reject(r.status)));

  async function reindex() {
    const was = total;
    try { index = await get('/index', ''); } catch { return; }
    total = index.total;
    for (const n of [...chunks.keys()]) if ((n + 1) * chunk >= was) chunks.delete(n); // the last one has grown
    if (!was) index.groups.forEach((g) => { if (g.closed) closed.add(g.start); });
    measure();
    say();
    if (follow) bottom(); else if (was && total > was) { fresh.hidden = false; fresh.textContent = (total - seen) + ' new lines'; }
    draw();
  }

  // hidden: the ranges of lines that closed groups keep out of sight.
  function measure() {
    hidden = [];
    let end = 0;
    for (const g of index.groups) {
      if (!closed.has(g.start) || g.start < end) continue;
      if (g.end > g.start) { hidden.push([g.start + 1, g.end]); end = g.end; }
    }
    rows = total - hidden.reduce((n, [a, b]) => n + b - a + 1, 0);
    pad.dataset.rows = rows;
    pad.style.height = Math.min(rows * rowHeight, maxHeight) + 12 + 'px';
  }

  function lineOf(row) { // 0-based row → 1-based line
    let line = row + 1;
    for (const [a, b] of hidden) if (line >= a) line += b - a + 1; else break;
    return line;
  }
  function rowOf(line) {
    let row = line - 1;
    for (const [a, b] of hidden) { if (line > b) row -= b - a + 1; else if (line >= a) return a - 2 - before(a); }
    return row;
  }
  function before(line) { return hidden.reduce((n, [a, b]) => (b < line ? n + b - a + 1 : n), 0); }

  const scale = () => (rows * rowHeight > maxHeight ? rows * rowHeight / maxHeight : 1);

  function draw() {
    const visible = Math.min(300, Math.ceil(box.clientHeight / rowHeight) + 1); // whatever the layout does, the document stays small
    const top = Math.max(0, Math.min(rows - visible + 1, Math.floor(box.scrollTop * scale() / rowHeight)));
    view.style.transform = 'translateY(' + (scale() === 1 ? top * rowHeight : box.scrollTop) + 'px)';
    const want = [];
    for (let r = top; r < Math.min(rows, top + visible); r++) want.push(lineOf(r));
    const missing = new Set(want.map((n) => Math.floor((n - 1) / chunk)).filter((c) => !chunks.has(c)));
    view.replaceChildren(...want.map(rowFor));
    for (const c of missing) load(c);
    if (top + visible > rows) { seen = total; fresh.hidden = true; }
  }

  async function load(c) {
    chunks.set(c, []);
    try { chunks.set(c, (await get('', '&from=' + (c * chunk + 1) + '&count=' + chunk)).lines); } catch { chunks.delete(c); return; }
    draw();
  }

  function rowFor(n) {
    const l = chunks.get(Math.floor((n - 1) / chunk))?.[(n - 1) % chunk];
    const el = document.createElement('div');
    const link = document.createElement('a');
    link.href = '#L' + n;
    link.textContent = n;
    el.append(link);
    el.className = 'll';
    if (!l) return el;
    if (l.k) el.classList.add(l.k);
    if (n >= from && n <= to) el.classList.add('sel');
    if (hits[hitAt] === n) el.classList.add('hit');
    if (times) { const t = document.createElement('span'); t.className = 'lt'; t.textContent = l.t || ''; el.append(t); }
    const g = index.groups.find((x) => x.start === n);
    const text = document.createElement('span');
    text.innerHTML = l.h; // escaped by the server, spans only
    if (g) {
      const b = document.createElement('button');
      b.className = 'fold';
      b.setAttribute('aria-expanded', !closed.has(n));
      b.textContent = closed.has(n) ? '▸' : '▾';
      b.onclick = () => { if (closed.has(n)) closed.delete(n); else closed.add(n); measure(); draw(); };
      const c = document.createElement('span');
      c.className = 'dimmer';
      c.textContent = ' (' + (g.end - g.start) + ' lines)';
      el.append(b, text, c);
    } else el.append(text);
    return el;
  }

  function show(line) {
    for (const g of index.groups) if (closed.has(g.start) && line > g.start && line <= g.end) closed.delete(g.start);
    measure();
    box.scrollTop = (rowOf(line) * rowHeight - box.clientHeight / 3) / scale();
    draw();
  }
  function bottom() { box.scrollTop = box.scrollHeight; }
  function setFollow(on) { follow = on; mark('follow', on); if (on) { bottom(); draw(); } }
  function mark(name, on) { document.querySelector('[data-log="' + name + '"]')?.setAttribute('aria-pressed', on); }
  function say() {
    if (!status) return;
    const e = index.errors.length, w = index.warnings.length;
    status.textContent = total.toLocaleString('en') + ' lines' + (e ? ', ' + e + (e > 1 ? ' errors' : ' error') : '') + (w ? ', ' + w + (w > 1 ? ' warnings' : ' warning') : '');
    document.querySelector('[data-log="error"]')?.toggleAttribute('hidden', !e);
  }

  function step(list, by) {
    if (!list.length) return;
    const mid = lineOf(Math.floor(box.scrollTop * scale() / rowHeight + box.clientHeight / 3 / rowHeight));
    const next = by > 0 ? list.find((n) => n > Math.max(mid, to && list.includes(to) ? to : 0)) ?? list[0] : [...list].reverse().find((n) => n < (to || mid)) ?? list[list.length - 1];
    setFollow(false);
    select(next, next);
    show(next);
  }
  function select(a, b) {
    from = Math.min(a, b); to = Math.max(a, b);
    history.replaceState(null, '', '#L' + from + (to > from ? '-L' + to : ''));
  }
  function readHash() {
    const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!m) return false;
    from = +m[1]; to = +(m[2] || m[1]);
    setFollow(false);
    show(from);
    return true;
  }

  view.addEventListener('click', (e) => {
    const a = e.target.closest('a[href^="#L"]');
    if (!a) return;
    e.preventDefault();
    const n = +a.textContent;
    if (e.shiftKey && from) select(from, n); else select(n, n);
    setFollow(false);
    draw();
    copyText(location.href);
  });
  let lastTop = 0;
  box.addEventListener('scroll', () => {
    if (follow && box.scrollTop < lastTop - 4) setFollow(false);
    lastTop = box.scrollTop;
    if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; draw(); }); }
  });
  addEventListener('resize', draw);
  addEventListener('hashchange', readHash);
  fresh.addEventListener('click', () => setFollow(true));

  const actions = {
    follow: () => setFollow(!follow),
    times: () => { times = !times; mark('times', times); draw(); },
    error: () => step(index.errors.length ? index.errors : index.warnings, 1),
    fold: () => { if (closed.size) closed.clear(); else index.groups.forEach((g) => closed.add(g.start)); measure(); draw(); },
  };
  document.addEventListener('click', (e) => { const b = e.target.closest('[data-log]'); if (b) actions[b.dataset.log]?.(); });
  keys({
    f: actions.follow, t: actions.times,
    e: () => { if (index.errors.length) { select(index.errors[0], index.errors[0]); setFollow(false); show(index.errors[0]); } },
    n: () => (hits.length ? go(1) : step(index.errors, 1)), N: () => (hits.length ? go(-1) : step(index.errors, -1)),
  });

  const search = document.getElementById('log-search');
  const count = document.getElementById('log-hits');
  search?.form.addEventListener('submit', (e) => { e.preventDefault(); if (hits.length && search.value === search.dataset.last) go(1); else find(); });
  search?.addEventListener('input', () => { clearTimeout(wanted); wanted = setTimeout(find, 200); });
  async function find() {
    const q = search.value;
    search.dataset.last = q;
    hits = []; hitAt = -1;
    if (q) { try { hits = (await get('/search', '&q=' + encodeURIComponent(q))).lines; } catch { /* keeps the old view */ } }
    count.textContent = q ? (hits.length ? '' : 'not found') : '';
    if (hits.length) go(1); else draw();
  }
  function go(by) {
    hitAt = (hitAt + by + hits.length) % hits.length;
    count.textContent = (hitAt + 1) + ' of ' + hits.length;
    setFollow(false);
    show(hits[hitAt]);
  }

  let later = 0;
  onChange((changed) => {
    if (!changed.some((k) => k === box.dataset.key)) return;
    if (!later) later = setTimeout(() => { later = 0; reindex(); }, 250);
  });
  reindex().then(() => { seen = total; if (!readHash()) { if (follow) bottom(); else if (box.dataset.error === '1' && index.errors.length) show(index.errors[0]); } draw(); });
}
