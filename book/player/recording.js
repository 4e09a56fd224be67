// A recording, as docs/recording.md describes it, and its steps. What is in the file is other people's: nothing of it is
// taken for what it should be, and nothing is ever run.
'use strict';

const VERSION = 1;
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const list = (value) => Array.isArray(value) ? value : [];
const text = (value) => typeof value === 'string' ? value : '';
const number = (value) => typeof value === 'number' && Number.isFinite(value) ? value : 0;

// Any value as text for a person.
function pretty(value) {
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value, null, 2) ?? '';
  } catch {
    return '(nested too deep to be shown)';
  }
}

const short = (value, length) => {
  const words = text(value).replace(/\s+/g, ' ').trim();
  return words.length > length ? words.slice(0, length) + ' …' : words;
};

// The records of a file of JSON lines. A last line that is not whole was being written when its program was killed. Large
// files are read in portions, so that the page stays alive.
async function parseLines(content, progress) {
  const lines = content.split('\n'), records = [], bad = [];
  for (let i = 0; i < lines.length; i++) {
    if (i % 2000 === 1999) await progress(i / lines.length);
    if (lines[i].trim() === '') continue;
    try {
      const record = JSON.parse(lines[i]);
      if (!isObject(record)) throw new TypeError();
      records.push(record);
    } catch {
      bad.push(i + 1);
    }
  }
  const torn = bad.length > 0 && bad.at(-1) === lines.length;
  if (torn) bad.pop();
  return { records, bad, torn };
}

class Recording {
  constructor(records) {
    this.records = records.filter(isObject);
    this.head = this.records.find((record) => record.type === 'recording');
    if (!this.head) throw new Error('this is no recording: its first line has no type "recording"');
    if (number(this.head.version) > VERSION) {
      throw new Error(`this recording has version ${number(this.head.version)} of the format; this page knows ${VERSION}`);
    }
    this.parts = new Map();
    this.ids = new Map();       // blocks and parts by their text
    this.blockCache = new Map();
    this.wireCache = { tool: new Map(), system: new Map(), message: new Map() };
    this.exchanges = new Map();
    this.screen = [];           // [index of the record, text]
    this.steps = [];
    this.read();
  }

  part(id) { return this.parts.get(id); }

  // One number for all that is the same, cache marks aside.
  identity(value) {
    let key;
    try {
      key = JSON.stringify(value, (name, inner) => name === 'cache_control' ? undefined : inner) ?? '';
    } catch {
      key = String(Math.random());
    }
    if (!this.ids.has(key)) this.ids.set(key, this.ids.size);
    return this.ids.get(key);
  }

  // The blocks of a message as [{block, role, id}].
  blocksOf(message) {
    if (!isObject(message)) return [];
    const role = message.role === 'assistant' ? 'assistant' : 'user';
    const content = typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : list(message.content);
    return content.filter(isObject).map((block) => ({ block, role, id: this.identity([role, block]) }));
  }

  blocksOfPart(id) {
    if (!this.blockCache.has(id)) this.blockCache.set(id, this.blocksOf(this.part(id)));
    return this.blockCache.get(id);
  }

  // The blocks of a step's conversation.
  conversation(step) {
    return list(step.messages).flatMap((id) => this.blocksOfPart(id)).concat(step.tail ?? []);
  }

  read() {
    const agents = new Map();
    const agent = (name) => {
      if (!agents.has(name)) agents.set(name, { messages: [], tail: [], calls: new Map(), wire: null, known: [] });
      return agents.get(name);
    };
    const step = (index, kind, name, title, more) => {
      const of = agent(name);
      this.steps.push({ index, kind, agent: name, title, messages: of.messages, tail: of.tail, ...more });
      return this.steps.at(-1);
    };
    this.records.forEach((record, index) => {
      const name = text(record.agent) || 'main';
      switch (record.type) {
        case 'part': this.parts.set(record.id, record.value); break;
        case 'screen': this.screen.push([index, text(record.text)]); break;
        case 'turn': {
          const of = agent(name), prompt = this.blocksOf({ role: 'user', content: record.prompt });
          const words = prompt.map(({ block }) => text(block.text)).join(' ');
          of.tail = of.tail.concat(prompt);
          step(index, prompt.length ? 'prompt' : 'woken', name, words || 'a turn begins that nobody typed', { at: record.at });
          break;
        }
        case 'request': this.request(record, index, agent(name), step, name); break;
        case 'response': {
          const exchange = this.exchanges.get(record.exchange);
          if (exchange) exchange.response = record;
          break;
        }
        case 'reply': {
          const of = agent(name), exchange = this.exchanges.get(record.exchange);
          if (exchange) exchange.reply = record;
          const message = this.part(record.message), blocks = this.blocksOf(message);
          const calls = blocks.filter(({ block }) => block.type === 'tool_use').map(({ block }) => text(block.name));
          const said = blocks.map(({ block }) => text(block.text)).join(' ').trim();
          const error = text(record.error);
          const title = [said, calls.length ? `calls ${calls.join(', ')}` : ''].filter(Boolean).join(' · ');
          if (exchange?.request.side) {
            step(index, 'aside', name, error || said, {
              exchange, at: record.at, messages: list(exchange.request.conversation), tail: blocks, error,
            });
            break;
          }
          if (!error && record.message !== undefined) of.tail = of.tail.concat(blocks);
          step(index, error ? 'failure' : 'reply', name, error || title, { exchange, at: record.at, error });
          break;
        }
        case 'event': this.event(record, index, agent(name), step, name); break;
        case 'files': {
          const of = agent(name), owner = of.calls.get(record.call)?.step;
          const changes = list(record.changes).filter(isObject);
          const left = text(record.left_out);
          // They are written before the result is reported.
          (of.files ??= []).push({ call: record.call, changes, left });
          if (owner) owner.files = (owner.files ?? []).concat(of.files.pop());
          break;
        }
        case 'turn_end': {
          const of = agent(name);
          of.messages = list(record.messages);
          of.tail = [];
          of.known = of.messages.flatMap((id) => this.blocksOfPart(id)).map(({ id }) => id);
          break;
        }
        case 'end': step(index, 'end', 'main', `the program ended with exit code ${number(record.code)}`, { at: record.at }); break;
        default: // A newer type of record.
      }
    });
    if (this.steps.length === 0) step(this.records.length - 1, 'start', 'main', 'nothing was asked', {});
    this.agents = [...agents.keys()];
    this.steps.forEach((step, i) => { step.number = i + 1; });
  }

  request(record, index, of, step, name) {
    const body = isObject(record.body) ? record.body : {};
    const before = [...this.exchanges.values()].findLast((exchange) => exchange.agent === name) ?? null;
    if (before && !before.reply && before.response) {
      const status = number(before.response.status);
      step(index, 'attempt', name, status === 200 ? 'the reply broke off' : `no reply: status ${status || 'none'}`, { exchange: before, at: record.at });
    }
    const exchange = { number: record.exchange, agent: name, request: record, body, before, response: null, reply: null };
    this.exchanges.set(record.exchange, exchange);
    if (record.side === true) return;
    const messages = list(record.conversation);
    const blocks = messages.flatMap((id) => this.blocksOfPart(id)), now = blocks.map(({ id }) => id);
    const known = new Set(of.known);
    const inserted = blocks.filter(({ block, id }) => isObject(block.$origin) && !known.has(id));
    const prompted = new Set(of.tail.map(({ id }) => id));
    const typed = blocks.filter(({ block, role, id }) => role === 'user' && block.type === 'text' && !isObject(block.$origin) && !known.has(id) && !prompted.has(id));
    const rewritten = of.known.some((id, i) => now[i] !== id);
    of.messages = messages;
    of.tail = [];
    of.known = now;
    if (rewritten) step(index, 'rewritten', name, 'what was sent before has changed: the conversation was rewritten', { exchange, at: record.at });
    if (!rewritten && typed.length) step(index, 'prompt', name, typed.map(({ block }) => text(block.text)).join(' '), { exchange, at: record.at });
    if (!rewritten && inserted.length) {
      const names = [...new Set(inserted.map(({ block }) => text(block.$origin.name) || 'text'))];
      step(index, 'inserted', name, `${names.join(', ')}: ${short(inserted.at(-1).block.text, 120)}`, { exchange, at: record.at });
    }
  }

  event(record, index, of, step, name) {
    switch (record.event) {
      case 'call': {
        const call = isObject(record.call) ? record.call : {};
        of.calls.set(call.id, { call, summary: text(record.summary), at: record.at });
        break;
      }
      case 'result': {
        const known = of.calls.get(record.call) ?? { call: {}, summary: '' };
        const block = { type: 'tool_result', tool_use_id: record.call, content: record.content };
        if (record.is_error === true) block.is_error = true;
        of.tail = of.tail.concat([{ block, role: 'user', id: this.identity(['user', block]) }]);
        const took = number(record.at) - number(known.at);
        const files = (of.files ?? []).filter(({ call }) => call === record.call || call === null);
        of.files = (of.files ?? []).filter((change) => !files.includes(change));
        known.step = step(index, 'result', name, known.summary || text(known.call.name), {
          call: known.call, is_error: record.is_error === true, files, took, at: record.at,
        });
        break;
      }
      case 'failure': step(index, 'failure', name, text(record.text), { at: record.at, error: text(record.text) }); break;
      default: // Deltas, notices and whole replies stand on the screen, and the reply in its own record.
    }
  }

  // What a prompt is made of, in the order of the cache: tools, system text, messages.
  requestParts(exchange) {
    if (!exchange.parts) {
      const { body } = exchange, system = typeof body.system === 'string' ? [body.system] : body.system;
      exchange.parts = [['tool', body.tools], ['system', system], ['message', body.messages]]
        .flatMap(([group, ids]) => list(ids).map((id) => this.wirePart(group, id)));
    }
    return exchange.parts;
  }

  wirePart(group, id) {
    const cache = this.wireCache[group];
    if (!cache.has(id)) {
      const value = typeof id === 'number' ? this.part(id) : id;
      cache.set(id, { group, value, id: this.identity([group, value]), bytes: pretty(value).length, marked: hasMark(value) });
    }
    return cache.get(id);
  }

  // For each part, what is the same number for the same parts up to and with it.
  prefixes(parts) {
    let a = 7, b = 11;
    return parts.map(({ id }) => {
      a = Math.imul(a ^ id, 0x01000193);
      b = Math.imul(b, 31) + id | 0;
      return (a >>> 0) + (b & 0xfffff) * 2 ** 32;
    });
  }

  // The prefixes that a request lets the cache keep.
  marked(exchange) {
    if (!exchange.marked) {
      const parts = this.requestParts(exchange);
      const prefixes = parts.some(({ marked }) => marked) ? this.prefixes(parts) : [];
      exchange.marked = prefixes.filter((_, i) => parts[i].marked);
    }
    return exchange.marked;
  }

  // How many parts the cache re-read, if the server says that it did: those up to a cache mark of a request before. Where
  // there are no marks, or several, the one that ends nearest to the number of tokens.
  cachedParts(exchange) {
    const usage = isObject(exchange.reply?.usage) ? exchange.reply.usage : {};
    const read = number(usage.cache_read_input_tokens);
    if (read === 0) return 0;
    const written = new Set();
    for (const other of this.exchanges.values()) {
      if (other === exchange) break;
      for (const prefix of this.marked(other)) written.add(prefix);
    }
    const parts = this.requestParts(exchange), prefixes = this.prefixes(parts);
    const known = prefixes.some((prefix) => written.has(prefix));
    const prompt = read + number(usage.cache_creation_input_tokens) + number(usage.input_tokens);
    const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
    let sum = 0, best = 0, distance = Infinity;
    parts.forEach(({ bytes }, i) => {
      sum += bytes;
      const off = Math.abs(sum / total * prompt - read);
      if (off < distance && (!known || written.has(prefixes[i]))) [best, distance] = [i + 1, off];
    });
    return best;
  }

  // What the terminal showed in this step, and before it.
  shown(number) {
    const begin = this.steps[number - 1].index, end = this.steps[number]?.index ?? Infinity;
    const before = [], now = [];
    for (const [index, shown] of this.screen) {
      if (number > 1 ? index < begin : false) before.push(shown);
      else if (index < end) now.push(shown);
      else break;
    }
    return { before: before.join(''), now: now.join('') };
  }

  // All that a search looks at.
  haystack(step) {
    if (step.haystack === undefined) {
      const { now } = this.shown(step.number);
      const fresh = this.fresh(step);
      const blocks = this.conversation(step).filter(({ id }) => fresh.has(id)).map(({ block }) => blockText(block));
      const files = list(step.files).flatMap(({ changes }) => changes.map(({ path, diff }) => `${text(path)} ${text(diff)}`));
      const plain = now.replace(/\x1b\[[0-9;]*m/g, '');
      step.haystack = [step.title, ...blocks, plain, ...files].join('\n').slice(0, 400000);
    }
    return step.haystack;
  }

  // The blocks that the step before of the same agent did not have.
  fresh(step) {
    if (!step.fresh) {
      const before = this.steps.slice(0, step.number - 1).findLast((other) => other.agent === step.agent && other.kind !== 'aside');
      const known = new Set(before ? this.conversation(before).map(({ id }) => id) : []);
      step.fresh = new Set(this.conversation(step).map(({ id }) => id).filter((id) => !known.has(id)));
    }
    return step.fresh;
  }
}

// Whether a cache mark stands at a part of a prompt.
const hasMark = (value) => isObject(value) && ('cache_control' in value || list(value.content).some((block) => isObject(block) && 'cache_control' in block));

// What a block says, as text.
function blockText(block) {
  switch (block.type) {
    case 'text': return text(block.text);
    case 'thinking': return text(block.thinking);
    case 'tool_use': return `${text(block.name)} ${pretty(block.input)}`;
    case 'tool_result': {
      if (typeof block.content === 'string') return block.content;
      return list(block.content).filter(isObject).map(blockText).join('\n');
    }
    case 'image': return '[a picture]';
    default: return pretty(block);
  }
}
