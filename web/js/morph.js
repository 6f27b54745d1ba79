// morph changes an element in place until it looks like another one, and keeps
// what the reader owns: focus, selection, scroll, typed text, opened details.
export function morph(from, to) {
  if (from.isEqualNode(to)) return;
  if (from.nodeName !== to.nodeName) { from.replaceWith(to); return; }
  if (from.hasAttribute('data-own')) return; // a script owns it
  attributes(from, to);
  children(from, to);
}

function attributes(from, to) {
  for (const a of [...to.attributes]) {
    if (kept(from, a.name)) continue;
    if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
  }
  for (const a of [...from.attributes]) {
    if (!to.hasAttribute(a.name) && !kept(from, a.name)) from.removeAttribute(a.name);
  }
}

function kept(el, name) {
  if (name === 'open' && el.nodeName === 'DETAILS') return true;
  if (el.matches('input, textarea, select')) return name === 'value' || name === 'checked';
  return false;
}

function key(node) {
  return node.nodeType === 1 ? node.id || node.getAttribute('data-key') || '' : '';
}

function children(from, to) {
  const keyed = new Map();
  for (const c of from.children) if (key(c)) keyed.set(key(c), c);
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    const k = key(want);
    let have = k ? keyed.get(k) : null;
    if (have) {
      if (have !== at) from.insertBefore(have, at); else at = at.nextSibling;
      morph(have, want);
      continue;
    }
    have = at;
    if (have && !key(have) && !k && have.nodeType === want.nodeType && have.nodeName === want.nodeName) {
      at = have.nextSibling;
      if (have.nodeType === 1) morph(have, want);
      else if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      continue;
    }
    from.insertBefore(want, at);
  }
  while (at) {
    const next = at.nextSibling;
    // A row that holds the focus stays until the reader leaves it.
    if (!(at.contains && at.contains(document.activeElement) && document.activeElement !== document.body)) at.remove();
    at = next;
  }
}
