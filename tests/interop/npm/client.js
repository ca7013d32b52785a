// npm's etcd3 against a cluster: node client.js ENDPOINT,ENDPOINT,… [CLIENTS]
'use strict';
const assert = require('node:assert');
const { Etcd3, EtcdLockFailedError } = require('etcd3');

const hosts = process.argv[2].split(',').map((host) => `http://${host}`);
const clients = Number(process.argv[3] || 50);

function once(emitter, name) {
  return new Promise((resolve, reject) => {
    emitter.once(name, resolve);
    if (name !== 'error') emitter.once('error', reject);
  });
}

async function keys(client) {
  await client.put('n/a').value('1');
  await client.put('n/b').value('2');
  assert.equal(await client.get('n/a').string(), '1');
  assert.deepEqual(await client.getAll().prefix('n/').strings(), { 'n/a': '1', 'n/b': '2' });
  assert.deepEqual(await client.getAll().prefix('n/').sort('Key', 'Descend').limit(1).keys(), ['n/b']);
  const swapped = await client.if('n/a', 'Value', '==', '1').then(client.put('n/a').value('3'))
    .else(client.get('n/a')).commit();
  assert.equal(swapped.succeeded, true);
  const deleted = await client.delete().prefix('n/');
  assert.equal(deleted.deleted, '2');
  assert.equal(await client.get('n/a').string(), null);
}

async function watches(client) {
  const watcher = await client.watch().prefix('w/').create();
  const put = once(watcher, 'put');
  await client.put('w/a').value('x');
  assert.equal((await put).value.toString(), 'x');
  const gone = once(watcher, 'delete');
  await client.delete().key('w/a');
  assert.equal((await gone).key.toString(), 'w/a');
  await watcher.cancel();
}

async function leases(client) {
  const lease = client.lease(5);
  await lease.put('l/a').value('x');
  assert.ok(await lease.grant());
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.equal(await client.get('l/a').string(), null);
}

async function locks(client) {
  const lock = client.lock('one').ttl(10);
  await lock.acquire();
  await assert.rejects(client.lock('one').ttl(10).acquire(), EtcdLockFailedError);
  await lock.release();
  // Whoever finds it taken tries again.
  let holder = 0;
  let turns = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    for (;;) {
      try {
        await client.lock('many').ttl(10).do(async () => {
          assert.equal(++holder, 1);
          await new Promise((resolve) => setImmediate(resolve));
          holder--;
        });
        turns++;
        return;
      } catch (e) {
        if (!(e instanceof EtcdLockFailedError)) throw e;
        await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 20));
      }
    }
  }));
  assert.equal(turns, clients);
}

async function elections(client) {
  const election = client.election('e', 10);
  const observer = await election.observe();
  const seen = new Promise((resolve) => observer.on('change', (value) => value && resolve(value)));
  const first = election.campaign('first');
  await once(first, 'elected');
  assert.equal(await seen, 'first');
  assert.equal(await election.leader(), 'first');
  const second = client.election('e', 10).campaign('second');
  const elected = once(second, 'elected');
  await first.resign();
  await elected;
  assert.equal(await election.leader(), 'second');
  await second.resign();
  await observer.cancel();
}

async function maintenance(client) {
  const status = await client.maintenance.status();
  assert.ok(status.version.startsWith('3.7.'));
  assert.ok(Number(status.dbSize) > 0);
  assert.deepEqual((await client.maintenance.alarm({ action: 'Get' })).alarms, []);
  await client.maintenance.defragment();
  assert.equal((await client.cluster.memberList({})).members.length, hosts.length);
}

async function main() {
  const client = new Etcd3({ hosts });
  for (const part of [keys, watches, leases, locks, elections, maintenance]) {
    await part(client);
    console.log('ok', part.name);
  }
  client.close();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
