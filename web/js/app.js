// What every page has: theme, forms that answer in place, copying, keys.
import * as live from './live.js';
import { keys } from './keys.js';
import './palette.js';

const root = document.documentElement;

document.addEventListener('click', (e) => {
  const theme = e.target.closest('.theme');
  if (theme) { e.preventDefault(); flipTheme(); return; }
  const copy = e.target.closest('[data-copy]');
  if (copy) { e.preventDefault(); copyText(copy.dataset.copy); return; }
  const close = e.target.closest('[data-close]');
  if (close) { close.closest('.toast')?.remove(); return; }
  const time = e.target.closest('time[datetime]');
  if (time && !e.target.closest('a, button')) copyText(time.getAttribute('datetime'));
});

function flipTheme() {
  const scheme = root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  root.dataset.theme = scheme === 'dark' ? 'light' : 'dark';
  document.cookie = 'penstock_theme=' + root.dataset.theme + ';path=/;max-age=31536000;samesite=lax';
  document.dispatchEvent(new CustomEvent('theme'));
}

export async function copyText(text) {
  try { await navigator.clipboard.writeText(text); toast('Copied ' + (text.length > 48 ? text.slice(0, 47) + '…' : text)); }
  catch { toast('Copying is not allowed here; the text is ' + text); }
}

// A toast is the answer to the reader's own action; an error stays until closed.
export function toast(text, kind) {
  const box = document.getElementById('toasts');
  const el = document.createElement('div');
  el.className = 'toast' + (kind === 'bad' ? ' bad' : '');
  el.setAttribute('role', kind === 'bad' ? 'alert' : 'status');
  const span = document.createElement('span');
  span.className = 'grow';
  span.textContent = text;
  const close = document.createElement('button');
  close.className = 'btn quiet sm';
  close.dataset.close = '';
  close.textContent = 'Close';
  el.append(span, close);
  box.append(el);
  arm(el);
}

function arm(el) {
  if (el.getAttribute('role') === 'alert') return;
  let left = 8;
  const id = setInterval(() => {
    if (el.matches(':hover, :focus-within')) return;
    if (--left <= 0) { clearInterval(id); el.remove(); }
  }, 1000);
}
document.querySelectorAll('#toasts .toast').forEach(arm);

// Forms marked data-here post in place: the button says what happens, then the
// server's page is painted over this one. Without this script they just post.
document.addEventListener('submit', async (e) => {
  const form = e.target;
  const button = e.submitter;
  if (!form.matches('[data-here]')) {
    if (button && form.method === 'post') queueMicrotask(() => busy(button, true));
    return;
  }
  e.preventDefault();
  const body = new URLSearchParams(new FormData(form, button));
  const was = busy(button, true);
  try {
    const r = await fetch((button && button.getAttribute('formaction')) || form.action, { method: 'POST', body, headers: { 'X-Live': '1' } });
    const doc = live.parse(await r.text());
    if (!r.ok) toast(doc.querySelector('[data-error]')?.textContent || 'The server refused it (' + r.status + ').', 'bad');
    else {
      if (new URL(r.url).pathname !== location.pathname) { location.href = r.url; return; }
      for (const t of doc.querySelectorAll('#toasts .toast')) toast(t.querySelector('.grow').textContent, t.classList.contains('bad') ? 'bad' : '');
      for (const t of form.querySelectorAll('textarea')) t.value = '';
      busy(button, false, was);
      live.paint(doc);
    }
  } catch { toast('The server does not answer. Nothing is known to have changed; look before you try again.', 'bad'); }
  busy(button, false, was);
});

function busy(button, on, was) {
  if (!button || !button.isConnected) return '';
  if (on) {
    const html = button.innerHTML;
    button.disabled = true;
    button.textContent = 'Sending…';
    return html;
  }
  button.disabled = false;
  if (was && button.textContent === 'Sending…') button.innerHTML = was;
  return '';
}

// Select boxes that change the view go there at once.
document.addEventListener('change', (e) => { if (e.target.matches('[data-go]')) e.target.form.requestSubmit(); });

// Viewed marks stay in this browser; a file that changes loses its mark.
document.documentElement.classList.add('js');
const viewedName = (b) => 'viewed ' + location.pathname.replace(/\/files$/, '') + ' ' + b.dataset.viewed;
function showViewed() {
  for (const b of document.querySelectorAll('[data-viewed]')) {
    const on = localStorage.getItem(viewedName(b)) === '1';
    if (b.getAttribute('aria-pressed') === String(on)) continue;
    b.setAttribute('aria-pressed', on);
    b.textContent = on ? 'Viewed' : 'Mark viewed';
    b.closest('details').open = !on;
  }
}
function mark(b) {
  if (localStorage.getItem(viewedName(b))) localStorage.removeItem(viewedName(b)); else localStorage.setItem(viewedName(b), '1');
  showViewed();
}
document.addEventListener('click', (e) => { const b = e.target.closest('[data-viewed]'); if (b) { e.preventDefault(); mark(b); } });
document.addEventListener('painted', showViewed);
showViewed();

const go = (area) => document.querySelector('[data-go-to="' + area + '"]')?.click();
keys({
  'g b': () => go('board'), 'g r': () => go('runs'), 'g p': () => go('pulls'), 'g a': () => go('apps'),
  'g i': () => go('approvals'), 'g m': () => go('monitor'), 'g c': () => go('code'), 'g e': () => go('environments'),
  'j': () => row(1), 'k': () => row(-1),
  'v': () => { const b = document.activeElement?.closest?.('.file')?.querySelector('[data-viewed]') || document.querySelector('[data-viewed][aria-pressed="false"]'); if (b) { mark(b); b.focus(); } }, 'c': () => focusOn('[data-key-c]'),
  'a': () => focusOn('[data-key-a]'), 'x': () => focusOn('[data-key-x]'), 'b': () => focusOn('[data-key-b]'),
  'e': () => focusOn('[data-key-e]', true),
  '/': () => focusOn('[data-key-slash]'),
  '?': () => document.getElementById('keys')?.showModal(),
  'y': () => { const p = document.querySelector('[data-permalink]')?.dataset.permalink; if (p) { history.replaceState(null, '', p + location.hash); copyText(location.href); } },
});

function focusOn(selector, click) {
  const all = [...document.querySelectorAll(selector)];
  const el = all[(all.indexOf(document.activeElement) + 1) % all.length]; // again: the next one
  if (!el) return;
  el.focus();
  el.scrollIntoView({ block: 'nearest' });
  if (click) el.click();
}

function row(step) {
  const rows = [...document.querySelectorAll('[data-row] a.main, a[data-row]')];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at + step))].focus();
}

live.start();
