/** Writes a row for each test file when it is done: a run that is killed keeps its finished rows. */

import { relative } from 'node:path';
import type { Reporter, Test, TestResult } from '@jest/reporters';
import { ROOT } from './support/node_script';
import { TESTS, writeRow } from './support/rows';

const MOST_FAILURES = 20;

class RowReporter implements Pick<Reporter, 'onTestResult'> {
  onTestResult(_: Test, result: TestResult): void {
    const { numPassingTests, numFailingTests, numPendingTests, testExecError, testResults } = result;
    const failures = testResults.filter(({ status }) => status === 'failed');
    writeRow(
      process.env.GPU_RESULTS,
      { stage: 'b', command: TESTS },
      {
        kind: 'tests',
        file: relative(ROOT, result.testFilePath).replace(/\.[jt]s$/, ''),
        passed: numPassingTests,
        // A file that does not load has no tests.
        failed: numFailingTests + (testExecError ? 1 : 0),
        skipped: numPendingTests,
        failures: [
          ...(testExecError ? [testExecError.message] : []),
          ...failures.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.slice(0, 300)}`),
        ].slice(0, MOST_FAILURES),
      },
    );
  }
}

export = RowReporter;
