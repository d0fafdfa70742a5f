// A migration by node-postgres: `drive.js node-postgres SITUATION OWN`, as drive.py beside it does by Python's drivers.
// Sessions of node-postgres read PGAPPNAME and PGOPTIONS, unless the app says something of its own.
'use strict'
const fs = require('fs')
const { spawn } = require('child_process')
const { Client } = require('pg')

const [, program, driver, situation, own] = process.argv
const NAME = 'web.1'
const OPTIONS = '-c search_path=public -c work_mem=5MB'
const DAMAGE = 'ALTER TABLE learners DROP COLUMN points'
const LANDS = [
  'ALTER TABLE learners ADD COLUMN nickname text',
  'UPDATE learners SET nickname = left(name, 3)',
  "INSERT INTO alembic_version VALUES ('001')"
]
const VIOLATED = [
  'BEGIN',
  'UPDATE learners SET points = points + 1',
  'ALTER TABLE learners ADD CONSTRAINT enough CHECK (points > 100)'
]
const SLOW = 'UPDATE learners SET points = -1 FROM (SELECT pg_sleep(5)) AS waited'
const INSERT = 'INSERT INTO learners (name) VALUES '

const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))
const killIn = seconds => setTimeout(() => process.kill(process.pid, 'SIGKILL'), seconds * 1000)

const SITUATIONS = {
  lands: async client => {
    for (const statement of LANDS) await client.query(statement)
    process.exit(0)
  },
  broken: async client => {
    await client.query(DAMAGE)
    await client.query(INSERT + "('new')")
  },
  'rolled back': async client => {
    await client.query('BEGIN')
    await client.query(DAMAGE)
    await client.query(INSERT + "('new')")
    await client.query('SELECT 1 / 0')
  },
  'a constraint is violated': async client => {
    for (const statement of VIOLATED) await client.query(statement)
  },
  'killed while a statement runs': async client => {
    killIn(0.4)
    await client.query(SLOW)
  },
  'killed after damage, while a statement runs': async client => {
    await client.query('CREATE TABLE left_behind (n integer)')
    killIn(0.4)
    await client.query(SLOW)
  },
  'killed idle in transaction': async client => {
    await client.query('BEGIN')
    await client.query(INSERT + "('new')")
    killIn(0)
    await sleep(10)
  },
  'a grandchild commits later': async client => {
    await client.query(DAMAGE)
    spawn(process.execPath, [program, driver, '(held)', own], { detached: true, stdio: 'ignore' }).unref()
    for (let n = 0; n < 100 && !fs.existsSync('held'); n++) await sleep(0.05)
  },
  '(held)': async client => {
    await client.query('BEGIN')
    await client.query(INSERT + "('from a grandchild')")
    fs.writeFileSync('held', '')
    await sleep(4)
    await client.query('COMMIT')
  },
  'many in one message': client =>
    client.query(`${INSERT} ('one'); ${INSERT} ('two'); DELETE FROM learners WHERE id < 10`),
  savepoints: async client => {
    await client.query('BEGIN')
    await client.query(DAMAGE)
    await client.query('SAVEPOINT one')
    await client.query('SELECT 1 / 0').catch(() => client.query('ROLLBACK TO SAVEPOINT one'))
    await client.query('COMMIT')
  },
  prepared: async client => {
    for (let n = 0; n < 3; n++) await client.query({ name: 'add', text: INSERT + '($1)', values: [`prepared ${n}`] })
  },
  pipelined: client => Promise.all([0, 1, 2].map(n => client.query(INSERT + '($1)', [`queued ${n}`]))),
  migrates: client => migrates(client, 'COMMIT'),
  'migrates and rolls back': client => migrates(client, 'ROLLBACK')
}

async function migrates (client, ending) {
  await client.query('BEGIN')
  await client.query('CREATE TABLE made (n integer PRIMARY KEY, name text)')
  await client.query('ALTER TABLE learners ADD COLUMN nickname text')
  await SITUATIONS.prepared(client)
  await SITUATIONS.pipelined(client)
  await client.query('SAVEPOINT one')
  await client.query('SELECT 1 / 0').catch(() => client.query('ROLLBACK TO SAVEPOINT one'))
  await client.query(ending)
  await client.query('SELECT name FROM learners')
  if (ending === 'COMMIT') await client.query(INSERT + "('by itself')")
  await client.end()
  process.exit(0)
}

async function main () {
  const given = { name: { application_name: NAME }, options: { options: OPTIONS } }[own] || {}
  const client = new Client({ connectionString: process.env.DATABASE_URL, ...given })
  await client.connect()
  const answer = await client.query('SELECT pg_backend_pid() AS pid')
  fs.appendFileSync('pids', `${answer.rows[0].pid}\n`)
  await SITUATIONS[situation](client)
  process.exit(3)
}

main().catch(error => {
  console.error(String(error))
  process.exit(4)
})
