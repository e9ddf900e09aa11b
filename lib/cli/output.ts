/** Standard output that goes away: the reader of a pipe ended, the disk is full. */

/** As shells have it for a process that ended by a signal. */
export const SIGNAL_CODES = { SIGHUP: 129, SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const;

type Handler = (code: number, message: string) => void;

let handle: Handler = (code, message) => {
  if (message !== '') process.stderr.write(`error: ${message}\n`);
  process.exit(code);
};

/** Replaces what happens when output is lost; by default the process ends. */
export function onOutputLost(handler: Handler): void {
  handle = handler;
}

/** Without this a failed write is an exception that nobody catches. */
export function watchOutput(): void {
  for (const [name, stream] of [
    ['standard output', process.stdout],
    ['standard error', process.stderr],
  ] as const)
    stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      // Who reads no more wants no more.
      if (code === 'EPIPE') handle(SIGNAL_CODES.SIGPIPE, '');
      // A terminal that was closed; SIGHUP tells it too.
      else if (stream === process.stderr) return;
      else handle(1, `${name}: ${message}`);
    });
}
