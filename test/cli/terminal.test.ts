/** What a run leaves on a terminal: a pseudo-terminal of some size, and what stands on it in the end. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { folder, MAIN, writeText } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

/** Runs a command on a pseudo-terminal of a size (Python has them, Node has not) and copies all that it writes. */
const ON_TERMINAL = `
import fcntl, os, pty, struct, sys, termios

columns, rows = int(sys.argv[1]), int(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[3], sys.argv[3:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    os.write(1, piece)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

function onTerminal(columns: number, rows: number, args: readonly string[]): string {
  const command = ['-c', ON_TERMINAL, String(columns), String(rows), process.execPath, MAIN, ...args];
  const { status, stdout, stderr } = spawnSync('python3', command, { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

const ESCAPE = '\u001b';
const TOKENS = new RegExp(`${ESCAPE}\\[[?\\d;]*[A-Za-z]|${ESCAPE}.|[^]`, 'gu');
/** Colours, and whether the cursor shows. */
const HARMLESS = new RegExp(`^${ESCAPE}\\[(\\?25[hl]|[\\d;]*m)$`);

/** The lines that a terminal shows at the end, those that scrolled away first. Fails on what it does not know. */
function shown(output: string, columns: number): string[] {
  const lines: string[][] = [[]];
  let row = 0;
  let column = 0;
  for (const [token] of output.matchAll(TOKENS)) {
    if (token === '\r') column = 0;
    else if (token === '\n') lines[++row] ??= [];
    else if (token === `${ESCAPE}[K`) lines[row]!.length = column;
    else if (HARMLESS.test(token)) continue;
    else if (token.startsWith(ESCAPE)) throw new Error(`moves the cursor: ${JSON.stringify(token)}`);
    else {
      if (column === columns) {
        lines[++row] ??= [];
        column = 0;
      }
      lines[row]![column++] = token;
    }
  }
  return lines.map((line) => Array.from(line, (cell) => cell ?? ' ').join(''));
}

const text = writeText('text.txt', 300, 7);
const RUN = [
  'train',
  '--preset',
  'tiny',
  '--tokenizer',
  'byte',
  '--seq-len',
  '32',
  '--batch-size',
  '4',
  '--data',
  text,
];

test.each([
  [40, 12],
  [80, 24],
  [200, 50],
])('on %i columns and %i rows every line is there once, whole, and the bar last', (columns, rows) => {
  const out = join(folder, `terminal-${columns}`);
  const output = onTerminal(columns, rows, [...RUN, '--steps', '40', '--eval-every', '10', '--out', out]);
  const lines = shown(output, columns);
  const screen = lines.join('\n');
  // Lines longer than the terminal go on in the next one.
  const whole = lines.map((line) => (line.length === columns ? line : `${line}\n`)).join('');
  expect(whole).toMatch(/^data: 1 documents, .* vocabulary 257$/m);
  for (const step of [10, 20, 30])
    expect(
      whole.match(
        new RegExp(
          `^step ${step}: validation loss \\d\\.\\d{4}, perplexity \\d+\\.\\d\\d, \\d\\.\\d{4} bits per byte$`,
          'gm',
        ),
      ),
    ).toHaveLength(1);
  for (const name of ['validation loss', 'perplexity', 'unigram model', 'parameters', 'speed', 'checkpoint'])
    expect(whole.match(new RegExp(`^${name} +\\S`, 'gm'))).toHaveLength(1);
  const bars = lines.filter((line) => /\d+\/40 /.test(line));
  expect(bars).toHaveLength(1);
  expect(bars[0]).toContain('40/40  loss ');
  expect(bars[0]!.length).toBeLessThan(columns);
  expect(screen.indexOf('step 30:')).toBeLessThan(screen.indexOf('40/40'));
  expect(screen.indexOf('40/40')).toBeLessThan(screen.indexOf('perplexity  '));
  // The cursor is back.
  expect(output.lastIndexOf(`${ESCAPE}[?25h`)).toBeGreaterThan(output.lastIndexOf(`${ESCAPE}[?25l`));
});
