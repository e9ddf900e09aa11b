/** Standard output that can go away: the reader of a pipe ended, or the disk is full. */

/** The exit code that shells give for a process that ended by a signal. */
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

/** Without this a failed write is an uncaught exception. */
export function watchOutput(): void {
  for (const [name, stream] of [
    ['standard output', process.stdout],
    ['standard error', process.stderr],
  ] as const)
    stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      // A reader that went away wants no more output.
      if (code === 'EPIPE') handle(SIGNAL_CODES.SIGPIPE, '');
      // A terminal was closed; SIGHUP also tells that.
      else if (stream === process.stderr) return;
      else handle(1, `${name}: ${message}`);
    });
}
