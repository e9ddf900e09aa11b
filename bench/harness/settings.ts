/** Every combination of instruction set and threads that was asked for. */
import { setIsa, setNumThreads } from '../../lib/device';
import type { Context } from './context';

/** Rivals choose their own instruction set: they take part only in our best one. Other devices have neither setting. */
export async function forEachSetting(context: Context, body: (context: Context) => Promise<void>): Promise<void> {
  for (const [i, isa] of context.isas.entries())
    for (const [j, threads] of context.threads.entries()) {
      setIsa(isa);
      setNumThreads(threads);
      const rivals = i === 0 ? context.rivals : [];
      for (const rival of rivals) await rival.setThreads(threads);
      await body({ ...context, rivals, placements: i + j === 0 ? context.placements : [] });
    }
}
