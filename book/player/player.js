// The page: the chooser, the steps, and three views of a step.
'use strict';

const $ = (id) => document.getElementById(id);

// An element with a class and content. Text is only ever set as text.
function make(tag, name, ...content) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...content.filter((part) => part !== null && part !== undefined));
  return element;
}

const grouped = (value) => number(value).toLocaleString('en-US');
const INTERVAL = 1300;
const MAX_LINES = 24;          // of one block, until somebody wants all
const MAX_BLOCKS = 60;         // of a conversation
const MAX_SCREEN = 40000;      // characters of the terminal
const MAX_EVENTS = 60;         // of a stream
const MAX_ROWS = 80;           // messages of a request
const MAX_MATCHES = 200;

const KINDS = {
  prompt: 'prompt', woken: 'woken', inserted: 'inserted', rewritten: 'rewritten', reply: 'reply', aside: 'side request',
  attempt: 'failed attempt', result: 'result', failure: 'failure', end: 'end', start: 'start',
};

const state = { lessons: [], name: '', recording: null, place: 0, timer: null, query: '', wanted: null };

// Recordings that come with the page are scripts, since a page from a file may not fetch.
const RUNGS = {
  index(lessons) {
    state.lessons = list(lessons).filter(isObject);
    for (const { name, title } of state.lessons) {
      const option = make('option', '', text(title) || text(name));
      option.value = text(name);
      $('lesson').append(option);
    }
    fromHash();
  },
  recording(name, records) {
    if (name === state.wanted) begin(name, list(records));
  },
};
globalThis.RUNGS = RUNGS;

function say(line) {
  $('message').textContent = line;
  $('message').hidden = line === '';
}

/// Opening.

function load(name) {
  pause();
  state.wanted = name;
  $('lesson').value = name;
  const script = document.createElement('script');
  script.src = `recordings/${encodeURIComponent(name)}.js`;
  script.onerror = () => say(`there is no recording ${name} here`);
  script.onload = () => script.remove();
  document.head.append(script);
}

function begin(name, records, note = '') {
  pause();
  try {
    state.recording = new Recording(records);
  } catch (error) {
    say(error.message);
    return;
  }
  say(note);
  state.name = name;
  const { head, steps } = state.recording;
  document.title = `${text(head.title) || text(head.lesson) || name} · Rungs player`;
  $('slider').max = String(steps.length);
  state.query = '';
  $('search').value = '';
  const [, place] = hash();
  go(place || 1, true);
}

async function openFile(file) {
  try {
    say(`reading ${file.name} …`);
    const content = await file.text();
    const { records, bad, torn } = await parseLines(content, async (share) => {
      say(`reading ${file.name}: ${Math.round(share * 100)} %`);
      await new Promise((done) => setTimeout(done));
    });
    const notes = [];
    if (bad.length) notes.push(`lines that are no records: ${bad.slice(0, 5).join(', ')}${bad.length > 5 ? ' …' : ''}`);
    if (torn) notes.push('the last line is not whole: the run was still going on, or was killed');
    let own = [...$('lesson').options].find((option) => option.value === 'file');
    if (!own) {
      own = make('option');
      own.value = 'file';
      $('lesson').append(own);
    }
    own.textContent = `file: ${file.name}`;
    state.own = records;
    state.wanted = 'file';
    $('lesson').value = 'file';
    history.replaceState(null, '', '#file/1');
    begin('file', records, notes.join('; '));
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

/// Places: `#s06_context_compact/14`.

function hash() {
  let decoded = '';
  try {
    decoded = decodeURIComponent(location.hash.slice(1));
  } catch { /* a broken link leads to the first lesson */ }
  const [name, place] = decoded.split('/');
  return [name, Number.parseInt(place, 10) || 0];
}

function fromHash() {
  const [name, place] = hash();
  const known = state.lessons.some((lesson) => lesson.name === name) || (name === 'file' && state.own);
  const wanted = known ? name : text(state.lessons[0]?.name);
  if (name && !known && state.lessons.length) say(`there is no recording ${name} here`);
  if (state.recording && wanted === state.name) go(place || 1);
  else if (wanted === 'file') begin('file', state.own);
  else if (wanted) load(wanted);
}

function go(place, first = false) {
  const { recording } = state;
  if (!recording) return;
  const last = recording.steps.length;
  const wanted = Math.min(Math.max(1, Math.round(place) || 1), last);
  if (wanted === state.place && !first) return;
  state.place = wanted;
  const target = `#${encodeURIComponent(state.name)}/${wanted}`;
  if (location.hash !== target) history.replaceState(null, '', target);
  $('lesson').value = state.name;
  show();
}

/// Playing.

function play() {
  if (!state.recording) return;
  if (state.place >= state.recording.steps.length) go(1);
  const tick = () => {
    go(state.place + 1);
    if (state.place >= state.recording.steps.length) pause();
    else state.timer = setTimeout(tick, INTERVAL / Number($('speed').value));
  };
  state.timer = setTimeout(tick, INTERVAL / Number($('speed').value));
  $('play').textContent = 'Pause';
}

function pause() {
  clearTimeout(state.timer);
  state.timer = null;
  $('play').textContent = 'Play';
}

/// The three views.

function show() {
  const { recording, place } = state, step = recording.steps[place - 1], last = recording.steps.length;
  $('slider').value = String(place);
  $('slider').setAttribute('aria-valuetext', `step ${place} of ${last}: ${KINDS[step.kind]}`);
  $('place').textContent = `${place} / ${last}`;
  for (const id of ['first', 'back']) $(id).disabled = place === 1;
  for (const id of ['next', 'last']) $(id).disabled = place === last;
  const who = recording.agents.length > 1 ? ` · ${step.agent}` : '';
  $('caption').replaceChildren(make('b', `kind-${step.kind}`, KINDS[step.kind] + who), short(step.title, 160));
  showTerminal(step);
  showConversation(step);
  showWire(step);
  if (!$('list').hidden) showList();
}

// Text with the colours of a terminal.
function painted(shown) {
  const out = [];
  let classes = [];
  for (const part of shown.split(/(\x1b\[[0-9;]*m)/)) {
    if (!part.startsWith('\x1b[')) {
      if (part) out.push(classes.length ? make('span', classes.join(' '), part) : part);
      continue;
    }
    const codes = part.slice(2, -1);
    if (codes === '0' || codes === '') classes = [];
    else if (codes === '1') classes = [...classes, 'b'];
    else if (codes === '2') classes = [...classes, 'd'];
    else if (/^38;5;\d+$/.test(codes)) classes = [...classes.filter((c) => !/^c\d/.test(c)), `c${codes.slice(5)}`];
  }
  return out;
}

function showTerminal(step) {
  const { before, now } = state.recording.shown(step.number);
  const pre = make('pre');
  let shown = before;
  if (before.length > MAX_SCREEN) {
    shown = before.slice(before.indexOf('\n', before.length - MAX_SCREEN) + 1);
    const all = link(`show the ${grouped(before.length - shown.length)} characters before`, () => {
      all.parentElement.remove();
      pre.prepend(...painted(before.slice(0, before.length - shown.length)));
    });
    pre.append(make('div', 'gap', all));
  }
  pre.append(...painted(shown));
  const newest = make('div', now ? 'now' : '', ...painted(now));
  pre.append(newest);
  $('terminal').replaceChildren(pre);
  // The newest lines are seen, from their beginning.
  $('terminal').scrollTop = Math.max(0, newest.offsetTop - pre.offsetTop - 60);
  if (newest.offsetHeight < $('terminal').clientHeight) $('terminal').scrollTop = $('terminal').scrollHeight;
}

function link(words, act) {
  const button = make('button', 'link', words);
  button.type = 'button';
  button.addEventListener('click', act);
  return button;
}

// A text of which only the first lines are there until somebody asks for all.
function folded(words, name) {
  const lines = words.split('\n'), pre = make('pre', name);
  const few = lines.length > MAX_LINES ? lines.slice(0, MAX_LINES).join('\n') : words;
  const start = few.length > 6000 ? few.slice(0, 6000) : few;
  pre.textContent = start;
  if (start.length === words.length) return [pre];
  const all = link(`show all: ${grouped(lines.length)} lines, ${grouped(words.length)} characters`, () => {
    pre.textContent = words;
    all.remove();
  });
  return [pre, all];
}

function blockView({ block, role }, fresh) {
  const origin = isObject(block.$origin) ? block.$origin : null;
  const head = make('div', 'head'), body = [];
  let kind = 'model';
  const add = (strong, ...more) => head.append(make('b', '', strong), ...more.filter(Boolean));
  switch (block.type) {
    case 'text':
      if (role === 'assistant') add('model');
      else if (origin) {
        kind = 'inserted';
        add('inserted', make('span', 'chip', text(origin.name) || 'text'), origin.keep === true ? make('span', 'chip', 'survives compaction') : null);
      } else {
        kind = 'person';
        add('person');
      }
      body.push(...folded(text(block.text), 'prose'));
      break;
    case 'thinking':
      kind = 'model thinking';
      add('thinking', typeof block.signature === 'string' && block.signature ? make('span', 'chip', 'signed') : null);
      body.push(...folded(text(block.thinking), 'prose'));
      break;
    case 'tool_use':
      add('call', make('code', 'more', text(block.name)), make('span', 'none', text(block.id)));
      body.push(...folded(pretty(block.input), ''));
      break;
    case 'tool_result':
      kind = block.is_error === true ? 'tool failed' : 'tool';
      add(block.is_error === true ? 'result, an error' : 'result', make('span', 'none', text(block.tool_use_id)));
      for (const inner of typeof block.content === 'string' ? [{ type: 'text', text: block.content }] : list(block.content).filter(isObject)) {
        if (isObject(inner.$origin)) body.push(make('div', '', make('span', 'chip', `inserted: ${text(inner.$origin.name)}`)));
        body.push(...folded(blockText(inner), ''));
      }
      break;
    default:
      kind = role === 'assistant' ? 'model' : 'person';
      add(text(block.type) || 'block');
      body.push(...folded(block.type === 'image' ? '[a picture]' : pretty(block), ''));
  }
  return make('div', `block ${kind}${fresh ? ' fresh' : ''}`, head, ...body);
}

function showConversation(step) {
  const { recording } = state, blocks = recording.conversation(step), fresh = recording.fresh(step);
  const name = step.kind === 'aside' ? `${step.agent}, beside the conversation` : step.agent;
  $('whose').textContent = `${name}, ${grouped(blocks.length)} blocks as the model reads them`;
  const views = (some) => some.map((block) => blockView(block, fresh.has(block.id)));
  // All that is new, and some before it.
  const first = blocks.findIndex(({ id }) => fresh.has(id));
  const from = Math.max(0, Math.min(blocks.length - MAX_BLOCKS, first < 0 ? Infinity : Math.max(first - 5, blocks.length - 4 * MAX_BLOCKS)));
  const content = [];
  if (from > 0) {
    const gap = make('div', 'gap', link(`show the ${grouped(from)} blocks before`, () => gap.replaceWith(...views(blocks.slice(0, from)))));
    content.push(gap);
  }
  content.push(...views(blocks.slice(from)));
  if (!blocks.length) content.push(make('p', 'none', 'Nothing was said yet.'));
  $('conversation').replaceChildren(...content);
  const newest = $('conversation').querySelector('.fresh') ?? $('conversation').lastElementChild;
  $('conversation').scrollTop = newest ? newest.offsetTop - $('conversation').offsetTop - 40 : 0;
}

function diffView({ path, diff }) {
  const pre = make('pre');
  for (const line of text(diff).replace(/\n$/, '').split('\n').slice(0, 400)) {
    if (line.startsWith('--- ') || line.startsWith('+++ ')) continue;
    const kind = line.startsWith('+') ? 'add' : line.startsWith('-') ? 'del' : line.startsWith('@@') ? 'hunk' : '';
    pre.append(make('span', kind, line));
  }
  return make('div', 'diff', make('b', '', text(path)), pre);
}

function facts(...pairs) {
  const dl = make('dl', 'facts');
  for (const [name, value] of pairs) {
    if (value !== null && value !== '') dl.append(make('dt', '', name), make('dd', '', value));
  }
  return dl;
}

function showWire(step) {
  const content = [];
  $('wire-what').textContent = '';
  if (step.kind === 'result') {
    $('wire-what').textContent = 'nothing is sent while a tool runs';
    content.push(facts(['tool', text(step.call.name)], ['call', text(step.call.id)], ['took', step.at === undefined ? '' : `${grouped(step.took)} ms`], ['ended', step.is_error ? 'with an error' : 'well']));
    content.push(make('h3', '', 'Arguments'), ...folded(pretty(step.call.input), ''));
    const files = list(step.files);
    content.push(make('h3', '', 'Files changed'));
    const during = files.filter(({ call }) => call !== null), between = files.filter(({ call }) => call === null);
    for (const { changes } of during) content.push(...changes.map(diffView));
    if (!during.some(({ changes }) => changes.length)) content.push(make('p', 'none', 'None.'));
    if (between.some(({ changes }) => changes.length)) content.push(make('h3', '', 'Changed before the call, by something else'));
    for (const { changes } of between) content.push(...changes.map(diffView));
    for (const { left } of files) if (left) content.push(make('p', '', left));
  } else if (step.exchange) {
    content.push(...exchangeView(step.exchange, ['prompt', 'inserted', 'rewritten'].includes(step.kind)));
  } else {
    const words = step.kind === 'end' ? 'The program has ended.' : 'Nothing was sent yet: the request is made of this conversation, and is shown with its reply.';
    content.push(make('p', 'none', words));
    const { head } = state.recording;
    if (state.place === 1) {
      content.push(facts(['recording', text(head.title) || text(head.lesson)], ['model', text(head.model)], ['wire format', text(head.format)],
        ['played by', head.live === true ? 'a live model' : 'a rehearsal: a script plays the model, the tools are real'], ['folder', text(head.folder)]));
    }
    if (step.kind === 'end') content.push(totals());
  }
  $('wire').replaceChildren(...content);
  $('wire').scrollTop = 0;
}

// What all requests of the run took.
function totals() {
  const sum = { requests: 0, read: 0, written: 0, full: 0, out: 0, cost: 0, priced: 0 };
  for (const { reply } of state.recording.exchanges.values()) {
    if (!isObject(reply?.usage)) continue;
    sum.requests += 1;
    sum.read += number(reply.usage.cache_read_input_tokens);
    sum.written += number(reply.usage.cache_creation_input_tokens);
    sum.full += number(reply.usage.input_tokens);
    sum.out += number(reply.usage.output_tokens);
    if (typeof reply.cost === 'number') {
      sum.cost += reply.cost;
      sum.priced += 1;
    }
  }
  return facts(['replies', grouped(sum.requests)], ['tokens in', `${grouped(sum.read)} re-read from the cache, ${grouped(sum.written)} written to it, ${grouped(sum.full)} in full`],
    ['tokens out', grouped(sum.out)], ['cost', dollars(sum.priced ? sum.cost : null)]);
}

function dollars(cost) {
  if (typeof cost !== 'number') return 'no price is known for this model';
  const { head } = state.recording, as = text(head.prices);
  return `$${cost.toFixed(cost < 0.01 ? 5 : 4)}${as && as !== head.model ? ` at the prices of ${as}` : ''}`;
}

function exchangeView(exchange, early) {
  const { recording } = state, { request, response, reply } = exchange;
  // Before the reply, the request alone is known.
  const usage = isObject(reply?.usage) && !early ? reply.usage : null;
  $('wire-what').textContent = `request ${number(exchange.number)}${request.side === true ? ', beside the conversation' : ''}`;
  const out = [];
  const rows = [['sent', `${grouped(request.bytes)} bytes`]];
  if (!early) rows.push(['answered', response ? `status ${number(response.status) || 'none'}, ${grouped(response.bytes)} bytes${Array.isArray(response.events) ? `, ${grouped(response.events.length)} events` : ''}` : 'not yet']);
  if (usage) rows.push(['tokens out', grouped(usage.output_tokens)], ['stopped', text(reply.stop)], ['cost', dollars(reply.cost)]);
  if (!early && reply && text(reply.error)) rows.push(['error', text(reply.error)]);
  out.push(facts(...rows));
  const parts = recording.requestParts(exchange), before = exchange.before ? recording.requestParts(exchange.before) : [];
  const cut = early ? 0 : recording.cachedParts(exchange);
  const counts = { tool: 0, system: 0, message: 0 };
  const numbered = parts.map((part) => ({ part, number: ++counts[part.group] }));
  if (usage) out.push(...tokenBar(usage));
  // What stands first and is the same is the prefix: only that can be re-read.
  let same = 0;
  while (same < parts.length && same < before.length && parts[same].id === before[same].id) same++;
  const known = new Set(before.map(({ id }) => id));
  const added = parts.filter(({ id }) => !known.has(id)).length;
  out.push(make('h3', '', 'Request ', make('small', '', exchange.before ? `${grouped(added)} of ${grouped(parts.length)} parts are new, the others are as in the request before` : 'the first of this agent')));
  out.push(row('fields', fieldsBrief(exchange), pretty(fieldsOf(exchange.body)), fieldsChanged(exchange) ? 'fresh' : ''));
  const isNew = (i) => exchange.before !== null && !known.has(parts[i].id);
  const breaks = exchange.before && same < before.length && same < parts.length && !isLonger(before, parts, same) ? same : -1;
  for (let i = 0; i < parts.length;) {
    if (i === breaks) out.push(make('p', 'broke', 'From here on the prompt differs from the request before: the common prefix ends here.'));
    let end = i + 1;
    // What is as it was, and on the same side of the cut, is one line.
    while (end < parts.length && end !== breaks && end !== cut && isNew(end) === isNew(i) && (parts[i].group === parts[end].group || !isNew(i))) end++;
    const cached = i < cut, fresh = isNew(i), some = numbered.slice(i, end);
    if (fresh || some.length === 1) out.push(...someRows(some, (some) => partRow(some, cached, fresh)));
    else out.push(groupRow(some, cached));
    if (usage && end === cut) out.push(make('div', 'cut-line', `re-read from the cache up to here: ${grouped(usage.cache_read_input_tokens)} tokens`));
    i = end;
  }
  if (early) out.push(make('p', 'none', 'It is being sent; the reply is the next step.'));
  else out.push(make('h3', '', 'Response'), ...responseView(response));
  return out;
}

// Whether the last message of the request before is the begin of the one in its place: what joined it changed nothing.
function isLonger(before, parts, at) {
  const blocks = ({ value }) => state.recording.blocksOf(value).map(({ id }) => id), now = blocks(parts[at]);
  return at === before.length - 1 && before[at].group === 'message' && blocks(before[at]).every((id, i) => now[i] === id);
}

// The newest are open: they are what this request adds.
function partRow({ part, number }, cached, isNew) {
  const view = row(`${part.group} ${number}`, brief(part), part.value, cached ? 'cached' : isNew ? 'fresh' : '', [part.marked ? 'cache mark' : '', isNew ? 'new' : ''], part.bytes);
  if (isNew && part.group === 'message') view.open = true;
  return view;
}

// All rows, or the first and a link to the rest.
function someRows(parts, rowOf) {
  if (parts.length <= MAX_ROWS) return parts.map(rowOf);
  const rest = parts.slice(MAX_ROWS);
  const gap = make('div', 'gap', link(`show ${grouped(rest.length)} parts more`, () => gap.replaceWith(...rest.map(rowOf))));
  return [...parts.slice(0, MAX_ROWS).map(rowOf), gap];
}

// Parts that stand one after the other, in one line that opens to show theirs.
function groupRow(some, cached) {
  const groups = Object.keys(GROUPS).map((group) => [group, some.filter(({ part }) => part.group === group)]).filter(([, of]) => of.length);
  const words = groups.map(([group, of]) => of.length === 1 ? `${group} ${of[0].number}` : `${GROUPS[group]} ${of[0].number} to ${of.at(-1).number}`).join(', ');
  const bytes = some.reduce((sum, { part }) => sum + part.bytes, 0), marks = some.some(({ part }) => part.marked);
  const summary = make('summary', '', make('span', 'what', words),
    marks ? make('span', 'chip', 'cache mark') : null, make('span', 'size', grouped(bytes)));
  const details = make('details', `row group ${cached ? 'cached' : ''}`, summary);
  details.addEventListener('toggle', () => {
    if (details.open && details.childElementCount === 1) details.append(make('div', 'inside', ...someRows(some, (each) => partRow(each, cached, false))));
  });
  return details;
}

const GROUPS = { tool: 'tools', system: 'system sections', message: 'messages' };

// A line that opens to show a value. What it holds is made when it is opened.
function row(what, brief, value, kind, chips = [], bytes = 0) {
  const summary = make('summary', '', make('span', 'what', what), make('span', 'brief', brief),
    ...chips.filter(Boolean).map((words) => make('span', 'chip', words)), bytes ? make('span', 'size', grouped(bytes)) : null);
  const details = make('details', `row ${kind}`, summary);
  details.addEventListener('toggle', () => {
    if (details.open && details.childElementCount === 1) details.append(...folded(pretty(value), ''));
  });
  return details;
}

const fieldsOf = (body) => Object.fromEntries(Object.entries(body).filter(([name]) => !['messages', 'tools', 'system'].includes(name)));

function fieldsBrief({ body }) {
  return Object.entries(fieldsOf(body)).map(([name, value]) => `${name}: ${short(pretty(value), 40)}`).join(', ');
}

const fieldsChanged = ({ body, before }) => before !== null && pretty(fieldsOf(body)) !== pretty(fieldsOf(before.body));

function brief({ group, value }) {
  if (group === 'tool') return text(value?.name) || text(value?.function?.name);
  if (group === 'system') return short(typeof value === 'string' ? value : value?.text, 90);
  return messageBrief(value);
}

function messageBrief(message) {
  if (!isObject(message)) return '';
  const content = typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : list(message.content).filter(isObject);
  const blocks = content.map((block) => block.type === 'text' ? short(block.text, 60) : block.type === 'tool_use' ? `[tool_use ${text(block.name)}]` : `[${text(block.type)}]`);
  const calls = list(message.tool_calls).filter(isObject).map((call) => `[tool_call ${text(call.function?.name)}]`);
  return `${text(message.role)}: ${[...blocks, ...calls].join(' ')}`;
}

function tokenBar(usage) {
  const kinds = [['cached', 're-read from the cache', usage.cache_read_input_tokens], ['written', 'written to the cache', usage.cache_creation_input_tokens], ['full', 'in full', usage.input_tokens]];
  const bar = make('div', 'bar'), key = make('div', 'key');
  bar.setAttribute('aria-hidden', 'true');
  for (const [name, words, tokens] of kinds) {
    const share = make('span', name);
    share.style.setProperty('--share', String(number(tokens)));
    bar.append(share);
    const square = make('i', name);
    key.append(make('span', '', square, `${grouped(tokens)} tokens ${words}`));
  }
  return [bar, key];
}

function responseView(response) {
  if (!response) return [make('p', 'none', 'There is none: the run was stopped, or still goes on.')];
  if (Array.isArray(response.events)) {
    const rows = (some, from) => some.map((event, i) => row(`${from + i + 1}`, eventBrief(event), event, ''));
    const first = rows(response.events.slice(0, MAX_EVENTS), 0);
    if (response.events.length > MAX_EVENTS) {
      const gap = make('div', 'gap', link(`show ${grouped(response.events.length - MAX_EVENTS)} events more`, () => gap.replaceWith(...rows(response.events.slice(MAX_EVENTS), MAX_EVENTS))));
      first.push(gap);
    }
    return first;
  }
  return folded(response.body === undefined ? text(response.text) || '(nothing came)' : pretty(response.body), '');
}

function eventBrief(event) {
  if (typeof event === 'string') return event;
  if (!isObject(event)) return pretty(event);
  const delta = isObject(event.delta) ? event.delta : {};
  if (text(event.type)) {
    const more = text(delta.text) || text(delta.thinking) || text(delta.partial_json) || text(delta.stop_reason) || text(event.content_block?.type);
    return `${event.type}${event.index === undefined ? '' : ` ${number(event.index)}`} ${JSON.stringify(more)}`;
  }
  const choice = list(event.choices)[0];
  if (isObject(choice)) return `${text(event.object)} ${short(JSON.stringify(choice.delta ?? choice.message ?? {}), 120)} ${text(choice.finish_reason)}`;
  return short(pretty(event), 120);
}

/// The list of steps, and search.

function matches() {
  const words = state.query.toLowerCase();
  return state.recording.steps.filter((step) => words === '' || state.recording.haystack(step).toLowerCase().includes(words));
}

function snippet(step) {
  const hay = state.recording.haystack(step), at = hay.toLowerCase().indexOf(state.query.toLowerCase());
  const from = Math.max(0, at - 30);
  return short((from > 0 ? '…' : '') + hay.slice(from, at + state.query.length + 60), 120);
}

function showList() {
  if (!state.recording) return;
  const found = matches(), ol = make('ol'), many = state.recording.agents.length > 1;
  for (const step of found.slice(0, Math.max(MAX_MATCHES, state.query ? 0 : 3000))) {
    const button = make('button', '', make('span', 'number', String(step.number)), make('span', `kind kind-${step.kind}`, KINDS[step.kind]), make('span', 'title', short(many ? `${step.agent.split('/').at(-1)}: ${step.title}` : step.title, 90)));
    if (state.query) button.append(make('span', 'snippet', snippet(step)));
    button.type = 'button';
    if (step.number === state.place) button.setAttribute('aria-current', 'step');
    button.addEventListener('click', () => go(step.number));
    ol.append(make('li', '', button));
  }
  const words = state.query ? `${grouped(found.length)} of ${grouped(state.recording.steps.length)} steps hold “${state.query}”` : `${grouped(found.length)} steps`;
  const scrolled = $('list').scrollTop;
  $('list').replaceChildren(make('p', '', words), ol);
  $('list').scrollTop = scrolled;
  ol.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
}

function toggleList(open = $('list').hidden) {
  $('list').hidden = !open;
  $('list-button').setAttribute('aria-expanded', String(open));
  if (open) showList();
}

function search(query) {
  state.query = query.trim();
  toggleList(state.query !== '');
}

function nextMatch(back) {
  const found = matches();
  if (!state.query || !found.length) return;
  const after = back ? found.findLast(({ number }) => number < state.place) ?? found.at(-1) : found.find(({ number }) => number > state.place) ?? found[0];
  go(after.number);
}

/// Panes, keys, files.

const PANES = ['terminal', 'conversation', 'wire'];

function pane(name, focus) {
  document.querySelector('.panes').dataset.pane = name;
  for (const other of PANES) {
    const tab = $(`tab-${other}`);
    tab.setAttribute('aria-selected', String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
  }
  if (focus) $(name).focus();
}

function prompt(direction) {
  const { steps } = state.recording ?? { steps: [] };
  const found = direction > 0 ? steps.slice(state.place).find(({ kind }) => kind === 'prompt') : steps.slice(0, state.place - 1).findLast(({ kind }) => kind === 'prompt');
  if (found) go(found.number);
}

function lesson(direction) {
  const place = state.lessons.findIndex(({ name }) => name === state.name) + direction;
  if (state.lessons[place]) choose(state.lessons[place].name);
}

function choose(name) {
  state.place = 0;
  history.replaceState(null, '', `#${encodeURIComponent(name)}/1`);
  fromHash();
}

const manual = (act) => () => {
  pause();
  act();
};

const KEYS = {
  ArrowRight: manual(() => go(state.place + 1)), ArrowLeft: manual(() => go(state.place - 1)),
  j: manual(() => go(state.place + 1)), k: manual(() => go(state.place - 1)),
  Home: manual(() => go(1)), End: manual(() => go(Infinity)),
  n: manual(() => prompt(1)), p: manual(() => prompt(-1)),
  ' ': () => state.timer ? pause() : play(),
  '+': () => faster(1), '=': () => faster(1), '-': () => faster(-1),
  1: () => pane('terminal', true), 2: () => pane('conversation', true), 3: () => pane('wire', true),
  ']': () => lesson(1), '[': () => lesson(-1),
  '/': () => $('search').focus(), s: () => toggleList(), t: () => theme(), '?': () => $('help').showModal(),
  Escape: () => toggleList(false),
};

function faster(by) {
  const speeds = $('speed'), place = speeds.selectedIndex + by;
  if (speeds.options[place]) speeds.selectedIndex = place;
}

function theme() {
  Theme.toggle();
  themeButton();
}

function themeButton() {
  $('theme').textContent = Theme.now() === 'dark' ? 'Light' : 'Dark';
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open) return;
  const target = event.target;
  if (target === $('search')) {
    if (event.key === 'Enter') nextMatch(event.shiftKey);
    else if (event.key === 'Escape') {
      $('search').value = '';
      search('');
      target.blur();
    } else return;
    event.preventDefault();
    return;
  }
  // A control keeps the keys that it understands itself.
  const own = target instanceof HTMLSelectElement || target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
  const pressed = target instanceof HTMLElement && target.closest('button, a, summary') && (event.key === ' ' || event.key === 'Enter');
  const tab = target instanceof HTMLElement && target.role === 'tab' && event.key.startsWith('Arrow');
  if ((own && event.key !== '?' && event.key !== 'Escape') || pressed || tab) return;
  const act = KEYS[event.key];
  if (!act || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  act();
});

document.querySelector('.tabs').addEventListener('keydown', (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const place = PANES.findIndex((name) => $(`tab-${name}`).tabIndex === 0) + by;
  const name = PANES[(place + PANES.length) % PANES.length];
  pane(name);
  $(`tab-${name}`).focus();
});

for (const name of PANES) $(`tab-${name}`).addEventListener('click', () => pane(name));
$('first').addEventListener('click', KEYS.Home);
$('last').addEventListener('click', KEYS.End);
$('back').addEventListener('click', KEYS.ArrowLeft);
$('next').addEventListener('click', KEYS.ArrowRight);
$('play').addEventListener('click', KEYS[' ']);
$('slider').addEventListener('input', manual(() => go(Number($('slider').value))));
$('lesson').addEventListener('change', () => choose($('lesson').value));
$('search').addEventListener('input', () => search($('search').value));
$('list-button').addEventListener('click', () => toggleList());
$('theme').addEventListener('click', theme);
$('help-button').addEventListener('click', () => $('help').showModal());
$('help-close').addEventListener('click', () => $('help').close());
$('open').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', () => {
  const [file] = $('file').files;
  if (file) openFile(file);
  $('file').value = '';
});
addEventListener('hashchange', fromHash);

let dragged = 0;
addEventListener('dragenter', (event) => {
  if (![...event.dataTransfer?.types ?? []].includes('Files')) return;
  dragged += 1;
  $('drop').hidden = false;
});
addEventListener('dragleave', () => {
  dragged = Math.max(0, dragged - 1);
  if (dragged === 0) $('drop').hidden = true;
});
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  dragged = 0;
  $('drop').hidden = true;
  const [file] = event.dataTransfer?.files ?? [];
  if (file) openFile(file);
});

themeButton();
if (!state.lessons.length) say('');
