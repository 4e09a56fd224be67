// Light or dark, before anything is shown: what was chosen here, else what the system says.
'use strict';
const Theme = {
  key: 'rungs-theme',
  stored() {
    try { return localStorage.getItem(Theme.key); } catch { return null; }
  },
  system: () => matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
  now: () => document.documentElement.dataset.theme,
  set(theme) { document.documentElement.dataset.theme = theme; },
  toggle() {
    const theme = Theme.now() === 'dark' ? 'light' : 'dark';
    Theme.set(theme);
    // Where nothing can be stored, the choice lasts as long as the page.
    try { localStorage.setItem(Theme.key, theme); } catch { /* as above */ }
    return theme;
  },
};
Theme.set(['light', 'dark'].includes(Theme.stored()) ? Theme.stored() : Theme.system());
