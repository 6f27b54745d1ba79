// Single keys and two-key sequences. They stay silent while somebody types, and
// can be turned off for readers whose voice software sends letters.
const map = {};
let first = '', timer;

export function keys(more) { Object.assign(map, more); }

export const enabled = () => localStorage.getItem('keys') !== 'off';
export const toggle = () => localStorage.setItem('keys', enabled() ? 'off' : 'on');

document.addEventListener('keydown', (e) => {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
  const typing = e.target.closest?.('input, textarea, select, [contenteditable]');
  if (e.key === 'Escape') { if (typing) e.target.blur(); else if (map.Escape) map.Escape(e); return; }
  if (typing || !enabled() || document.querySelector('dialog[open]')) return;
  const both = first + ' ' + e.key;
  const hit = map[both] || (first ? null : map[e.key]);
  clearTimeout(timer);
  if (hit) { first = ''; e.preventDefault(); hit(e); return; }
  first = Object.keys(map).some((k) => k.startsWith(e.key + ' ')) ? e.key : '';
  timer = setTimeout(() => { first = ''; }, 900);
});

document.addEventListener('click', (e) => {
  const b = e.target.closest('[data-toggle-keys]');
  if (!b) return;
  toggle();
  b.textContent = enabled() ? 'Turn single keys off' : 'Turn single keys on';
});
