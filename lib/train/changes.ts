/** Changes of a run when it goes on from a checkpoint. */
import { OptionError } from '../errors';
import { checkKeys, isObject, type OptionNames } from '../options';
import { CHANGEABLE } from './changeable';
import { checkTrainConfig, DEFAULT_WARMUP, planSteps, type TrainConfig } from './config';

/**
 * New values for a run that goes on, with the names of its config. With other `steps`, the warm-up and the guided steps stay as
 * many as they were. Values that are left out, or undefined, stay.
 */
export type RunChanges = Partial<Pick<TrainConfig, (typeof CHANGEABLE)[number]>>;

/** What was changed, for the checkpoint. */
export interface RecordedChange {
  /** Steps taken before the change. */
  readonly step: number;
  /** The values before; null where there were none. */
  readonly from: Readonly<Record<string, unknown>>;
  /** The values after. */
  readonly to: Readonly<Record<string, unknown>>;
}

const NAMES = Object.fromEntries(CHANGEABLE.map((name) => [name, 0])) as OptionNames<RunChanges>;

/** @throws {OptionError} for a name that is none of a change; the values are checked with the config. */
export function checkChanges(where: string, changes: unknown): asserts changes is RunChanges {
  if (!isObject(changes)) throw new OptionError(where, 'an object', changes);
  checkKeys(where, changes, NAMES);
}

/**
 * The config of a run that goes on after `step` steps, and what differs; null for nothing.
 * @throws {OptionError} for a value that makes no sense, or comes too late.
 */
export function changedConfig(
  config: TrainConfig,
  changes: RunChanges,
  step: number,
): { readonly config: TrainConfig; readonly change: RecordedChange | null } {
  const differing = CHANGEABLE.filter((name) => changes[name] !== undefined && changes[name] !== config[name]);
  if (differing.length === 0) return { config, change: null };
  const changed = withStepsKept(
    config,
    { ...config, ...Object.fromEntries(differing.map((n) => [n, changes[n]])) },
    step,
  );
  checkTrainConfig(changed);
  const values = (of: TrainConfig) => Object.fromEntries(differing.map((name) => [name, of[name] ?? null]));
  return { config: changed, change: { step, from: values(config), to: values(changed) } };
}

/** Parts of the steps that are counts of steps in fact: they stay as many, whatever the new total. */
function withStepsKept(before: TrainConfig, after: TrainConfig, step: number): TrainConfig {
  const { guidance } = before;
  const repeats = guidance?.protocol === 'fixed-flop';
  for (const name of ['batchSize', 'gradientAccumulation'] as const)
    if (repeats && after[name] !== before[name])
      throw new OptionError(`resume: ${name}`, "no change with 'fixed-flop', which repeats its batches", after[name]);
  if (after.steps === before.steps || !Number.isSafeInteger(after.steps)) return after;
  const { guided, repeatFrom, total } = planSteps(before);
  if (after.steps < Math.max(step, guided))
    throw new OptionError(
      'resume: steps',
      `at least the ${Math.max(step, guided)} that were taken or are guided`,
      after.steps,
    );
  if (repeats && step > repeatFrom)
    throw new OptionError('resume: steps', `${before.steps}, as the guided batches are repeated already`, after.steps);
  const warmup = Math.round((before.warmup ?? DEFAULT_WARMUP) * total);
  const kept = { ...after, ...(guidance && { guidance: { ...guidance, part: guided / after.steps } }) };
  return { ...kept, warmup: Math.min(1, warmup / planSteps(kept).total) };
}
