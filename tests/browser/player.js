// Opens the player in a real browser, from files: `node player.js SITE RECORDING MODULES CHROMIUM [TEST]`. SITE is the built
// page, RECORDING a file that --record has written, MODULES the folder that tests/browser/install has filled. Prints what was looked at; the first thing that is wrong ends it with an error.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createRequire } = require('node:module');
const [site, own, modules, chromium, only = ''] = process.argv.slice(2);
const load = createRequire(path.join(modules, 'package.json'));
const puppeteer = load('puppeteer-core');
const axe = fs.readFileSync(load.resolve('axe-core/axe.min.js'), 'utf8');

const SIZES = [[1280, 800], [390, 780]];
const THEMES = ['light', 'dark'];
const url = (file, hash = '') => `file://${path.join(site, file)}${hash}`;
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'rungs-browser-'));
const counted = { recordings: 0, steps: 0, audits: 0, 'pairs of lessons': 0 };

// A page on which nothing may go wrong, and which may not ask the network for anything.
async function open(browser, [width, height], theme, address) {
  const page = await browser.newPage();
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning', 'warn'].includes(message.type())) wrong.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.push(`error: ${error.message}`));
  page.on('request', (request) => {
    if (!/^(file|blob):/.test(request.url())) wrong.push(`asks the network: ${request.url()}`);
  });
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
  await page.goto(address);
  page.wrong = wrong;
  return page;
}

const textOf = (page, id) => page.$eval(`#${id}`, (element) => element.textContent);
const place = (page) => textOf(page, 'place');
const until = (page, test, ...args) => page.waitForFunction(test, { timeout: 5000, polling: 20 }, ...args);
const loaded = (page, name) => until(page, (name) => state.recording && state.name === name, name);

async function audit(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'], preload: false }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 150)} ${failureSummary}`).join('\n  ')}`);
  assert.deepEqual(found, [], `axe, ${what}`);
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width[0] <= width[1], `${what}: it is ${width[0]} wide, of ${width[1]}`);
  counted.audits += 1;
}

const tests = {
  async 'every lesson loads and steps, forwards and backwards'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html'));
    await until(page, () => state.recording);
    const names = await page.evaluate(() => state.lessons.map(({ name }) => name));
    for (const name of names) {
      await page.select('#lesson', name);
      await loaded(page, name);
      const steps = await page.evaluate(() => {
        const { length } = state.recording.steps, seen = [];
        // Of a long one every fourth, since each is painted.
        const numbers = Array.from({ length }, (_, i) => i + 1).filter((number) => number <= 12 || number % 4 === 0 || number === length);
        for (const number of numbers) {
          go(number);
          seen.push(`${$('place').textContent}: ${$('caption').textContent}`);
          if (!$('conversation').firstChild || !$('wire').firstChild || !$('terminal').firstChild) throw new Error(`step ${number} is empty`);
        }
        for (let i = numbers.length - 1; i >= 0; i -= 5) {
          go(numbers[i]);
          if (seen[i] !== `${$('place').textContent}: ${$('caption').textContent}`) throw new Error(`step ${numbers[i]} is another one on the way back`);
        }
        return { length, kinds: [...new Set(state.recording.steps.map(({ kind }) => kind))] };
      });
      assert.ok(steps.length >= 8, `${name} has ${steps.length} steps`);
      for (const kind of ['prompt', 'inserted', 'reply', 'end']) assert.ok(steps.kinds.includes(kind), `${name} has no ${kind}`);
      counted.recordings += 1;
      counted.steps += steps.length;
    }
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'what a step shows is what happened'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html', '#s06_context_compact/1'));
    await loaded(page, 's06_context_compact');
    const found = await page.evaluate(() => {
      const kinds = state.recording.steps.map(({ kind }) => kind);
      go(kinds.indexOf('rewritten') + 1);
      const cleared = $('conversation').textContent.includes('[cleared: ');
      go(kinds.indexOf('aside') + 1);
      const aside = $('whose').textContent, asked = $('conversation').textContent.includes('Summarise the conversation so far');
      go(kinds.indexOf('inserted') + 1);
      const chips = [...document.querySelectorAll('#conversation .chip')].map(({ textContent }) => textContent);
      return { cleared, aside: aside.includes('beside the conversation'), asked, chips };
    });
    assert.deepEqual(found, { cleared: true, aside: true, asked: true, chips: ['environment', 'survives compaction'] });
    // The cache: the second request re-reads what the first one wrote.
    await page.select('#lesson', 's20_cache_optimization');
    await loaded(page, 's20_cache_optimization');
    const cached = await page.evaluate(() => {
      const replies = state.recording.steps.filter(({ kind }) => kind === 'reply');
      return replies.slice(1, 8).map(({ exchange }) => {
        const before = state.recording.requestParts(exchange.before).length;
        return state.recording.cachedParts(exchange) - before;
      });
    });
    assert.deepEqual(cached, [0, 0, 0, 0, 0, 0, 0]);
    await page.select('#lesson', 's14_tools_extended');
    await loaded(page, 's14_tools_extended');
    const diffs = await page.evaluate(() => {
      const step = state.recording.steps.find(({ files }) => files?.some(({ changes }) => changes.length));
      go(step.number);
      return { add: document.querySelectorAll('#wire .diff .add').length > 0, path: document.querySelector('#wire .diff b').textContent !== '' };
    });
    assert.deepEqual(diffs, { add: true, path: true });
    await page.select('#lesson', 's04_subagent');
    await loaded(page, 's04_subagent');
    const agents = await page.evaluate(() => state.recording.agents.length);
    assert.ok(agents > 1, 'the subagents of s04 are in its recording');
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'links lead to a step'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html', '#s11_autonomous_agents/14'));
    await loaded(page, 's11_autonomous_agents');
    assert.match(await place(page), /^14 \/ \d+$/);
    await page.evaluate(() => { location.hash = '#s03_todo_write/5'; });
    await loaded(page, 's03_todo_write');
    assert.match(await place(page), /^5 \/ \d+$/);
    await page.evaluate(() => { location.hash = '#s03_todo_write/99999'; });
    await until(page, () => state.place === state.recording.steps.length);
    await page.evaluate(() => { location.hash = '#nothing%here/1'; });
    await loaded(page, 's01_loop');
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'the keyboard does all of it'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html', '#s01_loop/1'));
    await loaded(page, 's01_loop');
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
      return Number.parseInt(await place(page), 10);
    };
    assert.equal(await press('ArrowRight', 'j', 'ArrowRight'), 4);
    assert.equal(await press('ArrowLeft', 'k'), 2);
    const last = await press('End');
    assert.equal(await page.evaluate(() => state.recording.steps.length), last);
    assert.equal(await press('Home'), 1);
    const prompts = await page.evaluate(() => state.recording.steps.filter(({ kind }) => kind === 'prompt').map(({ number }) => number));
    assert.equal(await press('n'), prompts[1]);
    assert.equal(await press('n', 'p'), prompts[1]);
    await press('Home', '+', '+', '+', ' ');
    await until(page, () => state.place > 3);
    assert.equal(await textOf(page, 'play'), 'Pause');
    await press(' ');
    const paused = await press('F2');
    await new Promise((done) => setTimeout(done, 250));
    assert.equal(await press('F2'), paused);
    await press('?');
    assert.equal(await page.$eval('#help', (help) => help.open), true);
    await audit(page, 'help');
    await press('Escape');
    assert.equal(await page.$eval('#help', (help) => help.open), false);
    await press('s');
    assert.equal(await page.$eval('#list', (list) => list.hidden), false);
    await press('Escape');
    const focus = async (key) => {
      await press(key);
      return page.evaluate(() => document.activeElement.id);
    };
    assert.deepEqual([await focus('1'), await focus('2'), await focus('3')], ['terminal', 'conversation', 'wire']);
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    assert.equal(await theme(), 'light');
    await press('t');
    assert.equal(await theme(), 'dark');
    await page.reload();
    await until(page, () => state.recording);
    assert.equal(await theme(), 'dark', 'the choice outlasts the page');
    await press('t', ']');
    await loaded(page, 's02_tool_use');
    await press('[');
    await loaded(page, 's01_loop');
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'search finds steps and goes to them'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html', '#s01_loop/1'));
    await loaded(page, 's01_loop');
    await page.keyboard.press('/');
    await page.keyboard.type('PEAR');
    await until(page, () => document.querySelectorAll('#list li').length > 0);
    const found = await page.$$eval('#list .number', (numbers) => numbers.map(({ textContent }) => Number(textContent)));
    assert.ok(found.length > 1 && found[0] > 1, `${found}`);
    await audit(page, 'search');
    await page.keyboard.press('Enter');
    assert.equal(Number.parseInt(await place(page), 10), found[0]);
    await page.keyboard.press('Enter');
    assert.equal(Number.parseInt(await place(page), 10), found[1]);
    await page.click('#list li:last-child button');
    assert.equal(Number.parseInt(await place(page), 10), found.at(-1));
    await page.focus('#search');
    await page.keyboard.press('Escape');
    assert.equal(await page.$eval('#list', (list) => list.hidden), true);
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'an own recording is opened, also half of one, and a hostile one runs nothing'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html'));
    await until(page, () => state.recording);
    const choose = async (file) => {
      await (await page.$('#file')).uploadFile(file);
      await until(page, (name) => $('lesson').selectedOptions[0]?.textContent === `file: ${name}` && !$('message').textContent.startsWith('reading'), path.basename(file));
    };
    await choose(own);
    const steps = await page.evaluate(() => state.recording.steps.length);
    assert.ok(steps > 8);
    assert.equal(await place(page), `1 / ${steps}`);
    assert.equal(await page.evaluate(() => location.hash), '#file/1');
    // Its program was killed in the middle of a line.
    const content = fs.readFileSync(own, 'utf8'), half = path.join(scratch, 'half.jsonl');
    fs.writeFileSync(half, content.slice(0, content.indexOf('\n', content.length / 2) + 3));
    await choose(half);
    const less = await page.evaluate(() => state.recording.steps.length);
    assert.ok(less > 2 && less < steps, `${less} of ${steps}`);
    assert.match(await textOf(page, 'message'), /last line is not whole/);
    // Dropped.
    await page.evaluate((text) => {
      const data = new DataTransfer();
      data.items.add(new File([text], 'dropped.jsonl'));
      dispatchEvent(new DragEvent('dragenter', { dataTransfer: data }));
      dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
    }, content);
    await until(page, () => $('lesson').selectedOptions[0].textContent === 'file: dropped.jsonl' && state.recording.steps.length > 8);
    // What is in a file is text, whatever it looks like, and may have any type.
    const evil = '<img src=x onerror="globalThis.ran = true"><script>globalThis.ran = true</script>';
    const strange = [null, 7, 'x', [], {}, [[null]], -1, true, evil, { name: evil }, '\u001b[31mx\u001b[2J'];
    const fields = ['agent', 'text', 'prompt', 'id', 'value', 'exchange', 'conversation', 'body', 'status', 'events', 'message', 'usage', 'event', 'call', 'content', 'summary', 'changes', 'messages', 'error', 'cost', 'bytes'];
    const types = ['part', 'screen', 'turn', 'request', 'response', 'reply', 'event', 'files', 'turn_end', 'end', 'new', '__proto__', 'constructor'];
    const kinds = ['call', 'result', 'failure', 'notice', 'text'];
    const records = [{ type: 'recording', version: 1, title: evil, lesson: evil, model: evil, folder: evil }];
    let seed = 7;
    const next = (of) => of[(seed = (seed * 1103515245 + 12345) % 2147483648) % of.length];
    for (let i = 0; i < 1500; i++) {
      const record = { type: next(types), at: next([i, i, null, evil]) };
      for (const field of fields) if (next([true, false])) record[field] = next(strange);
      if (next([true, false])) record.agent = 'main';
      if (record.type === 'event') record.event = next(kinds);
      if (next([true, false])) record.exchange = i % 50;
      if (record.type === 'request' && next([true, false])) record.body = { messages: next(strange), tools: [i % 9], system: next(strange), [evil]: next(strange) };
      if (record.type === 'part') Object.assign(record, { id: i % 9, value: { role: next(['user', 'assistant', evil]), content: next([[{ type: 'text', text: evil, $origin: next(strange) }], [{ type: 'tool_result', content: next(strange) }], next(strange)]) } });
      if (record.type === 'reply') record.message = i % 9;
      records.push(record);
    }
    const hostile = path.join(scratch, 'hostile.jsonl');
    fs.writeFileSync(hostile, `${records.map((record) => JSON.stringify(record)).join('\n')}\nno json\n{"type": "end"}\n`);
    await choose(hostile);
    await page.evaluate(() => {
      for (let number = 1; number <= state.recording.steps.length; number++) go(number);
      for (const details of document.querySelectorAll('details')) details.open = true;
      search('onerror');
    });
    assert.match(await textOf(page, 'message'), /lines that are no records: 1502/);
    assert.equal(await page.evaluate(() => globalThis.ran), undefined);
    assert.equal(await page.$$eval('img, #conversation script, #list script', (found) => found.length), 0);
    // What this page cannot know is refused.
    for (const [name, line, expected] of [['newer', '{"type":"recording","version":2}', /version 2/], ['other', '{"type":"x"}', /no recording/], ['text', 'hello', /no recording/], ['empty', '', /no recording/]]) {
      const file = path.join(scratch, `${name}.jsonl`);
      fs.writeFileSync(file, line);
      await choose(file);
      assert.match(await textOf(page, 'message'), expected);
    }
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'a large recording stays fluid'(browser) {
    const page = await open(browser, SIZES[0], 'light', url('index.html'));
    await until(page, () => state.recording);
    const lines = [{ type: 'recording', version: 1, title: 'large' }, { type: 'part', id: 0, value: { name: 'bash', description: 'x'.repeat(500) } }];
    const messages = [];
    for (let i = 1; i <= 1000; i++) {
      const message = (id, value) => lines.push({ type: 'part', id, value }) && messages.push(id);
      message(2 * i, { role: 'user', content: [{ type: 'text', text: `prompt ${i} ${'words '.repeat(400)}` }] });
      lines.push({ type: 'turn', agent: 'main', prompt: [{ type: 'text', text: `prompt ${i}` }] });
      lines.push({ type: 'request', agent: 'main', exchange: i, conversation: [...messages], body: { tools: [0], messages: [...messages] }, bytes: 1 });
      lines.push({ type: 'response', agent: 'main', exchange: i, status: 200, bytes: 1, body: {} });
      message(2 * i + 1, { role: 'assistant', content: [{ type: 'text', text: `answer ${i}` }] });
      lines.push({ type: 'reply', agent: 'main', exchange: i, message: 2 * i + 1, usage: { input_tokens: 10, cache_read_input_tokens: 1000 } });
      lines.push({ type: 'screen', text: `${'a line of output\n'.repeat(20)}` });
      lines.push({ type: 'turn_end', agent: 'main', messages: [...messages] });
    }
    const file = path.join(scratch, 'large.jsonl');
    fs.writeFileSync(file, lines.map((line) => JSON.stringify(line)).join('\n'));
    const begun = Date.now();
    await (await page.$('#file')).uploadFile(file);
    await page.waitForFunction(() => state.recording?.steps.length > 1900, { timeout: 20000, polling: 50 });
    const opened = Date.now() - begun;
    const { worst, nodes } = await page.evaluate(() => {
      let worst = 0;
      for (const number of [1999, 2000, 1000, 1002, 2, 1998]) {
        const begun = performance.now();
        go(number);
        document.body.getBoundingClientRect();
        worst = Math.max(worst, performance.now() - begun);
      }
      return { worst: Math.round(worst), nodes: document.querySelectorAll('*').length };
    });
    counted['ms to open 2,000 steps'] = opened;
    counted['ms of the slowest of them'] = worst;
    // No figure of time is held to a bound: machines differ. What is in the page is.
    assert.ok(nodes < 4000, `${nodes} elements`);
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'contrast, labels and widths, large and small, light and dark'(browser) {
    for (const size of SIZES) {
      for (const theme of THEMES) {
        const page = await open(browser, size, theme, url('index.html', '#s06_context_compact/1'));
        await loaded(page, 's06_context_compact');
        for (const [name, kind, pane] of [['s06_context_compact', 'aside', 'conversation'], ['s11_autonomous_agents', 'result', 'terminal'], ['s20_cache_optimization', 'reply', 'wire'], ['s14_tools_extended', 'files', 'wire']]) {
          await page.select('#lesson', name);
          await loaded(page, name);
          await page.evaluate((kind) => {
            go(state.recording.steps.findLast((step) => step.kind === kind || (kind === 'files' && step.files?.length)).number);
            for (const details of document.querySelectorAll('#wire details')) details.open = true;
          }, kind);
          if (size[0] <= 900) await page.click(`#tab-${pane}`);
          await audit(page, `${name}, ${kind}, ${size[0]} px, ${theme}, ${pane}`);
        }
        assert.deepEqual(page.wrong, []);
        await page.close();
      }
    }
  },

  async 'the steps page shows the difference between any two lessons'(browser) {
    for (const size of SIZES) {
      for (const theme of THEMES) {
        const page = await open(browser, size, theme, url('steps.html', '#s06_context_compact'));
        assert.match(await page.title(), /^s01_loop to s06_context_compact/);
        await audit(page, `steps, ${size[0]} px, ${theme}`);
        assert.deepEqual(page.wrong, []);
        await page.close();
      }
    }
    const page = await open(browser, SIZES[0], 'light', url('steps.html'));
    const shown = await page.evaluate(() => {
      const empty = [];
      let pairs = 0;
      for (const to of state.lessons) {
        // All of them, from every sixth; and the step that leads to it.
        for (const from of [below(to), ...state.lessons.filter((_, i) => i % 6 === 0)]) {
          choose(from, to);
          pairs += 1;
          if (!$('difference').textContent.includes('fn main')) empty.push(`${from.name} ${to.name}`);
        }
      }
      return { empty, pairs };
    });
    assert.deepEqual(shown.empty, []);
    counted['pairs of lessons'] = shown.pairs;
    await page.evaluate(() => choose(lesson('s01_loop'), lesson('s03_todo_write')));
    await page.waitForFunction(() => document.querySelector('.diff .add'), { timeout: 5000 });
    const [seams, open1] = await page.evaluate(() => [document.querySelector('.facts dd').textContent, document.querySelector('details[open] .what').textContent]);
    assert.deepEqual([seams, open1], ['ask', 'fn install']);
    await page.keyboard.press('ArrowRight');
    assert.match(await page.title(), /s04_subagent/);
    assert.deepEqual(page.wrong, []);
    await page.close();
  },
};

(async () => {
  const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  try {
    for (const [name, test] of Object.entries(tests).filter(([name]) => name.includes(only))) {
      const begun = Date.now();
      try {
        await test(browser);
      } catch (error) {
        throw new Error(`${name}: ${error.stack}`);
      }
      console.log(`${name}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    }
    console.log(Object.entries(counted).map(([what, count]) => `${count} ${what}`).join(', '));
  } finally {
    await browser.close();
    fs.rmSync(scratch, { recursive: true });
  }
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
