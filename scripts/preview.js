// The search of the preview: every word must occur in a title, a heading, or the name of a function or class.
const entries = ENTRIES;      // [what, its page, address]
const root = document.currentScript.dataset.root;
const words = document.getElementById('words'), hits = document.getElementById('hits'), list = document.getElementById('list');

function found(query) {
  const parts = query.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = entries.filter(([what, page]) => parts.every(part => `${what} ${page}`.toLowerCase().includes(part)));
  const rank = ([what]) => parts.every(part => what.toLowerCase().startsWith(part)) ? 0 : parts.every(part => what.toLowerCase().includes(part)) ? 1 : 2;
  return fits.sort((one, other) => rank(one) - rank(other)).slice(0, 60);
}

words.addEventListener('input', () => {
  const query = words.value.trim();
  list.hidden = query !== '';
  hits.replaceChildren();
  if (!query) return;
  for (const [what, page, address] of found(query)) {
    const link = document.createElement('a'), where = document.createElement('small');
    link.href = `${root}/${address}`;
    link.textContent = what;
    where.textContent = page;
    link.append(where);
    hits.append(link);
  }
  if (!hits.children.length) {
    const nothing = document.createElement('p');
    nothing.textContent = 'No page, section or name has these words.';
    hits.append(nothing);
  }
});
