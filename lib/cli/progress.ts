/** How a run shows itself: a bar on a terminal, lines elsewhere, JSON for programs. */
import { Presets, SingleBar } from 'cli-progress';
import pc from 'picocolors';
import type { TrainEvent } from '../train';

export interface Progress {
  /** A line beside the progress. */
  say(line: string): void;
  event(event: TrainEvent): void;
  end(): void;
}

const evaluationLine = ({ step, loss, perplexity, bitsPerByte }: Extract<TrainEvent, { type: 'evaluation' }>): string =>
  `step ${step}: validation loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(2)}` +
  (bitsPerByte === null ? '' : `, ${bitsPerByte.toFixed(4)} bits per byte`);

/** Time left by the pace of the last steps, as 1m05s. */
class TimeLeft {
  #start = performance.now();
  #first = 0;

  restart(step: number): void {
    this.#start = performance.now();
    this.#first = step;
  }

  after(step: number, total: number): string {
    const done = step - this.#first;
    if (done < 1) return '?';
    const seconds = Math.round((((performance.now() - this.#start) / done) * (total - step)) / 1000);
    return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  }
}

/** One JSON object a line; numbers with all their digits. */
export function jsonProgress(): Progress {
  return {
    say: () => {},
    event: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
    end: () => {},
  };
}

export function barProgress(): Progress {
  const bar = new SingleBar(
    {
      format: `${pc.cyan('{bar}')} {value}/{total}  loss {loss}  ${pc.dim('lr {lr}  α {alpha}  {pace} tokens/s  {left} left')}`,
      hideCursor: true,
      stopOnComplete: true,
      stream: process.stderr,
    },
    Presets.shades_classic,
  );
  const timeLeft = new TimeLeft();
  let total = 0;
  const above = (line: string) => {
    // The bar redraws itself below what is written over it.
    process.stderr.write(`\r\u001b[K${line}\n`);
  };
  return {
    say: above,
    event(event) {
      if (event.type === 'start') {
        total = event.plan.total;
        timeLeft.restart(event.firstStep);
        bar.start(total, event.firstStep, { loss: '-', lr: '-', alpha: '-', pace: '-', left: '?' });
      } else if (event.type === 'step')
        bar.update(event.step, {
          loss: event.loss.toFixed(4),
          lr: event.learningRate.toExponential(1),
          alpha: event.alpha.toFixed(2),
          pace: Math.round(event.tokensPerSecond),
          left: timeLeft.after(event.step, total),
        });
      else if (event.type === 'evaluation' && !event.final) above(evaluationLine(event));
    },
    end: () => bar.stop(),
  };
}

export function lineProgress(): Progress {
  const timeLeft = new TimeLeft();
  let total = 0;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return {
    say,
    event(event) {
      if (event.type === 'start') {
        total = event.plan.total;
        timeLeft.restart(event.firstStep);
      } else if (event.type === 'step') {
        const { step, loss, alpha, tokensPerSecond, learningRate } = event;
        if (step === 1 || step % Math.max(1, Math.floor(total / 20)) === 0)
          say(
            `step ${step}/${total}: loss ${loss.toFixed(4)}, lr ${learningRate.toExponential(1)}, α ${alpha.toFixed(2)}, ` +
              `${Math.round(tokensPerSecond)} tokens/s, ${timeLeft.after(step, total)} left`,
          );
      } else if (event.type === 'evaluation' && !event.final) say(evaluationLine(event));
    },
    end: () => {},
  };
}
