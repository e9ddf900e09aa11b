/** How a run shows itself: a bar on a terminal, lines elsewhere, JSON for programs. */
import type { TrainEvent } from '../train';
import { Bar } from './bar';

export interface Progress {
  /** A line that is not part of the progress. */
  say(line: string): void;
  event(event: TrainEvent): void;
  end(): void;
}

const evaluationLine = ({ step, loss, perplexity, bitsPerByte }: Extract<TrainEvent, { type: 'evaluation' }>): string =>
  `step ${step}: validation loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(2)}` +
  (bitsPerByte === null ? '' : `, ${bitsPerByte.toFixed(4)} bits per byte`);

/** Time left at the pace of the last steps, as 1m05s. */
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
  const bar = new Bar(process.stderr);
  const timeLeft = new TimeLeft();
  let total = 0;
  const say = (line: string) => bar.say(line);
  return {
    say,
    event(event) {
      if (event.type === 'start') {
        total = event.plan.total;
        timeLeft.restart(event.firstStep);
        bar.update(event.firstStep / total, `${event.firstStep}/${total}`);
      } else if (event.type === 'step') {
        const { step, loss, learningRate, alpha, tokensPerSecond } = event;
        bar.update(
          step / total,
          `${step}/${total}  loss ${loss.toFixed(4)}  lr ${learningRate.toExponential(1)}  α ${alpha.toFixed(2)}  ` +
            `${Math.round(tokensPerSecond)} tokens/s  ${timeLeft.after(step, total)} left`,
        );
      }
      sayOf(event, say);
    },
    end: () => bar.end(),
  };
}

/** Prints the events that get a line, on a terminal and elsewhere. */
function sayOf(event: TrainEvent, say: (line: string) => void): void {
  if (event.type === 'step' && event.skipped)
    say(`step ${event.step}: skipped, with a loss of ${event.loss} and a gradient norm of ${event.gradNorm}`);
  if (event.type === 'evaluation' && !event.final) say(evaluationLine(event));
  if (event.type === 'end' && event.reason === 'stopped')
    say(`stopped after step ${event.step}: the loss fell no more`);
  if (event.type === 'warning') say(`warning: step ${event.step}: ${event.message}`);
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
      }
      sayOf(event, say);
    },
    end: () => {},
  };
}
