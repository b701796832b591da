// node http-cache-suite.mjs PACKAGE BASE: the tests of the npm package http-cache-tests, all at the
// same time (each sleeps for seconds), against the cache at BASE. Prints one line of JSON:
// { kinds: { required: { passed, of }, ... }, failed: [[kind, id, why], ...] }
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [dir, base] = process.argv.slice(2)
const load = (file) => import(pathToFileURL(`${dir}/${file}`))
const { runTests, getResults } = await load('client/runner.mjs')
const { determineTestResult } = await load('lib/display.mjs')
const suites = [...(await load('tests/index.mjs')).default, (await load('tests/surrogate-control.mjs')).default]
const fetch = createRequire(`${dir}/package.json`)('node-fetch')

await runTests(suites, fetch.default ?? fetch, false, base, Infinity)
const results = getResults()
const kinds = {}
const failed = []
for (const test of suites.flatMap((suite) => suite.tests)) {
  if (test.browser_only) continue
  const kind = test.kind ?? 'required'
  // As the package counts: a test passes when those that it depends on do.
  const [, , mark] = determineTestResult(suites, test.id, results)
  const passed = mark === '✅' || mark === 'Y'
  kinds[kind] ??= { passed: 0, of: 0 }
  kinds[kind].of += 1
  kinds[kind].passed += passed ? 1 : 0
  if (!passed) failed.push([kind, test.id, String(results[test.id]?.[1])])
}
console.log(JSON.stringify({ kinds, failed }))
