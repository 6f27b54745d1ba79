// Places and verbs in one list. The server writes what can be done, and why not
// where it cannot; nothing is hidden.
const dialog = document.getElementById('palette');
let list = null, shown = [], at = 0;

document.addEventListener('keydown', (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') { e.preventDefault(); open(); }
});
document.addEventListener('click', (e) => { if (e.target.closest('[data-palette]')) { e.preventDefault(); open(); } });

async function open() {
  if (!dialog) return;
  dialog.showModal();
  const input = dialog.querySelector('input');
  input.value = '';
  if (!list) {
    draw('Reading…');
    try { list = await (await fetch(dialog.dataset.src)).json(); } catch { draw('The server does not answer.'); return; }
  }
  match('');
}

function match(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  shown = list.map((item) => ({ item, rank: rank(item.text.toLowerCase(), words) })).filter((x) => x.rank >= 0)
    .sort((a, b) => a.rank - b.rank).slice(0, 12).map((x) => x.item);
  at = 0;
  draw('Nothing has that name.');
}

function rank(text, words) {
  let sum = 0;
  for (const w of words) {
    const i = text.indexOf(w);
    if (i < 0) return -1;
    sum += i === 0 ? 0 : text[i - 1] === ' ' ? 1 : 5;
  }
  return sum;
}

function draw(empty) {
  const ul = dialog.querySelector('ul');
  ul.replaceChildren(...shown.map((item, i) => {
    const li = document.createElement('li');
    li.setAttribute('role', 'option');
    li.id = 'palette-' + i;
    li.setAttribute('aria-selected', i === at);
    if (item.why) li.className = 'dim';
    const text = document.createElement('span');
    text.className = 'grow';
    text.textContent = item.text;
    const kind = document.createElement('span');
    kind.className = 'small dimmer';
    kind.textContent = item.why || item.kind;
    li.append(text, kind);
    li.onclick = () => { at = i; act(); };
    return li;
  }));
  if (!shown.length) {
    const li = document.createElement('li');
    li.className = 'dim';
    li.textContent = empty;
    ul.append(li);
  }
  dialog.querySelector('input').setAttribute('aria-activedescendant', shown.length ? 'palette-' + at : '');
}

function act() {
  const item = shown[at];
  if (!item || item.why) return;
  dialog.close();
  if (!item.post) { location.href = item.url; return; }
  const form = document.createElement('form');
  form.method = 'post';
  form.action = item.url;
  document.body.append(form);
  form.requestSubmit();
}

dialog?.querySelector('input').addEventListener('input', (e) => match(e.target.value));
dialog?.addEventListener('keydown', (e) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
  if (step) { e.preventDefault(); at = (at + step + shown.length) % Math.max(1, shown.length); draw(''); document.getElementById('palette-' + at)?.scrollIntoView({ block: 'nearest' }); }
  if (e.key === 'Enter') { e.preventDefault(); act(); }
});
dialog?.addEventListener('click', (e) => { if (e.target === dialog) dialog.close(); });
