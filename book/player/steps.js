// The difference between two lessons, made from their code. Head and tests are not in it. What a lesson attaches comes
// first, then what it is made of; what both have in common is folded away.
'use strict';

const $ = (id) => document.getElementById(id);

function make(tag, name, ...content) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...content.filter((part) => part !== null && part !== undefined && part !== ''));
  return element;
}

const state = { lessons: [] };
const CONTEXT = 3;
const SEAMS = ['turn', 'ask', 'send', 'batch', 'act'];

const STEPS = {
  lessons(lessons) {
    state.lessons = lessons;
    for (const id of ['from', 'to']) {
      for (const { name, title } of lessons) {
        const option = make('option', '', title || name);
        option.value = name;
        $(id).append(option);
      }
    }
    fromHash();
  },
};
globalThis.STEPS = STEPS;

const lesson = (name) => state.lessons.find((each) => each.name === name);

// `#s03_todo_write..s06_context_compact`, or `#s06_context_compact` for the step that leads to it.
function fromHash() {
  const [first, second] = decodeURIComponent(location.hash.slice(1)).split('..');
  const to = lesson(second ?? first) ?? state.lessons[1];
  const from = (second === undefined ? null : lesson(first)) ?? below(to);
  choose(from, to);
}

// The lesson that this one is built on, as its head says; the newest of several.
function below(to) {
  const place = state.lessons.indexOf(to);
  const named = [...to.builds_on.matchAll(/s\d\d/g)].map(([number]) => state.lessons.findIndex(({ name }) => name.startsWith(number)));
  const before = named.filter((at) => at >= 0 && at < place);
  return state.lessons[before.length ? Math.max(...before) : Math.max(0, place - 1)];
}

function choose(from, to) {
  $('from').value = from.name;
  $('to').value = to.name;
  const target = `#${from.name}..${to.name}`;
  if (location.hash !== target) history.replaceState(null, '', target);
  document.title = `${from.name} to ${to.name} · Rungs`;
  $('player').href = `index.html#${to.name}/1`;
  const place = state.lessons.indexOf(to);
  $('earlier').disabled = place <= 1;
  $('later').disabled = place === state.lessons.length - 1;
  show(from, to);
}

// Longest common subsequence of lines; items are short.
function diff(old, now) {
  const length = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      length[i][j] = old[i] === now[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const lines = [];
  let i = 0, j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push([' ', old[i++]]);
      j++;
    } else if (j < now.length && (i === old.length || length[i][j + 1] > length[i + 1][j])) lines.push(['+', now[j++]]);
    else lines.push(['-', old[i++]]);
  }
  return lines;
}

const lines = (code) => code === '' ? [] : code.replace(/\n+$/, '').split('\n');

function diffView(old, now) {
  const all = diff(lines(old), lines(now)), pre = code();
  const near = all.map((_, i) => all.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(([kind]) => kind !== ' '));
  let skipped = 0;
  all.forEach(([kind, line], i) => {
    if (!near[i]) {
      skipped++;
      return;
    }
    if (skipped) pre.append(make('span', 'hunk', `  … ${skipped} lines are the same`));
    skipped = 0;
    pre.append(make('span', kind === '+' ? 'add' : kind === '-' ? 'del' : '', `${kind} ${line}`));
  });
  if (skipped) pre.append(make('span', 'hunk', `  … ${skipped} lines are the same`));
  return make('div', 'diff', pre);
}

// It can be scrolled by keys, where it is wider than the page.
function code(...content) {
  const pre = make('pre', '', ...content);
  pre.tabIndex = 0;
  return pre;
}

const codeView = (source) => make('div', 'diff', code(...lines(source).map((line) => make('span', '', line || ' '))));

// How many lines of code it has: no blanks, no comments.
const bare = (code) => lines(code).filter((line) => line.trim() !== '' && !line.trimStart().startsWith('//')).length;

function itemView({ name, code }, open, old) {
  const count = bare(code), summary = make('summary', '', make('span', 'what', name), make('span', 'brief', firstComment(code)), make('span', 'size', `${count} ${count === 1 ? 'line' : 'lines'}`));
  const details = make('details', 'row', summary);
  const fill = () => {
    if (details.open && details.childElementCount === 1) details.append(old === undefined ? codeView(code) : diffView(old, code));
  };
  details.addEventListener('toggle', fill);
  details.open = open;
  return details;
}

// The first sentence of the doc comment.
function firstComment(code) {
  const words = lines(code).filter((line) => line.startsWith('///')).map((line) => line.slice(3).trim()).join(' ');
  return words.split(/(?<=\.)\s/)[0];
}

const isAttachment = ({ name }) => name === 'fn main' || name.startsWith('fn install');
const isMechanism = ({ name }) => /^impl(<.*>)? (Layer|Tool|Model|Ui|State|ToolSource) for /.test(name);

function seams(items) {
  const layers = items.filter(({ name }) => / ?Layer for /.test(name)).map(({ code }) => code).join('\n');
  return SEAMS.filter((seam) => new RegExp(`async fn ${seam}\\(`).test(layers));
}

// Which earlier lessons it uses.
function uses(items) {
  const code = items.map((item) => item.code).join('\n');
  return state.lessons.map(({ name }) => name).filter((name) => name !== 'full' && new RegExp(`\\b${name}\\b`).test(code));
}

// Words, of which those between backticks are code.
const prose = (words) => words.split('`').map((part, i) => i % 2 ? make('code', '', part) : part);

function facts(pairs) {
  const dl = make('dl', 'facts');
  for (const [name, value] of pairs) if (value) dl.append(make('dt', '', name), make('dd', '', value));
  return dl;
}

function show(from, to) {
  const old = new Map(from.items.map((item) => [item.name, item.code]));
  const rest = to.items.filter(({ name }) => name !== 'use');
  const size = (items) => items.reduce((sum, { code }) => sum + bare(code), 0);
  const added = rest.filter((item) => !isAttachment(item) && !old.has(item.name));
  const changed = rest.filter((item) => !isAttachment(item) && old.has(item.name) && old.get(item.name) !== item.code);
  const same = rest.filter((item) => !isAttachment(item) && old.get(item.name) === item.code);
  const here = new Set(rest.map(({ name }) => name));
  const gone = from.items.filter((item) => !isAttachment(item) && item.name !== 'use' && !here.has(item.name));
  const content = [make('h2', '', to.title)];
  const [adds, ...rules] = to.adds.map(prose);
  if (adds) content.push(make('p', '', ...adds));
  if (rules.length) content.push(make('ul', '', ...rules.map((rule) => make('li', '', ...rule))));
  content.push(facts([
    ['seams', seams(to.items).join(', ') || 'none: it is no layer'],
    ['earlier lessons in its code', uses(to.items).filter((name) => name !== to.name).join(', ') || 'none'],
    ['builds on', to.builds_on],
    ['code', `${size(to.items)} lines without head, comments and tests`],
  ]));
  const section = (title, words, views) => {
    if (views.length) content.push(make('h3', '', `${title} `, make('small', '', words)), ...views);
  };
  section('What it attaches', `main and install, compared with ${from.name}`, rest.filter(isAttachment).map((item) => itemView(item, true, old.get(item.name) ?? '')));
  section('The mechanism', 'layers, tools, models and states', added.filter(isMechanism).map((item, i) => itemView(item, i === 0)));
  section('What it is made of', `${added.filter((item) => !isMechanism(item)).length} items`, added.filter((item) => !isMechanism(item)).map((item) => itemView(item, false)));
  section('In both, and different', `${changed.length} items`, changed.map((item) => itemView(item, true, old.get(item.name))));
  section('In both, and the same', `${same.length} items`, same.map((item) => itemView(item, false)));
  section(`Only in ${from.name}`, `${gone.length} items`, gone.map((item) => itemView(item, false)));
  const imports = to.items.find(({ name }) => name === 'use');
  if (imports) section('Imports', '', [itemView(imports, false, old.get('use') ?? '')]);
  $('difference').replaceChildren(...content);
  scrollTo(0, 0);
}

function step(by) {
  const to = state.lessons[state.lessons.indexOf(lesson($('to').value)) + by];
  if (to && state.lessons.indexOf(to) > 0) choose(below(to), to);
}

$('from').addEventListener('change', () => choose(lesson($('from').value), lesson($('to').value)));
$('to').addEventListener('change', () => choose(below(lesson($('to').value)), lesson($('to').value)));
$('earlier').addEventListener('click', () => step(-1));
$('later').addEventListener('click', () => step(1));
$('theme').addEventListener('click', () => {
  Theme.toggle();
  themeButton();
});
addEventListener('hashchange', fromHash);
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
  if (event.key === 'ArrowRight' || event.key === 'j') step(1);
  if (event.key === 'ArrowLeft' || event.key === 'k') step(-1);
});

function themeButton() {
  $('theme').textContent = Theme.now() === 'dark' ? 'Light' : 'Dark';
}
themeButton();
