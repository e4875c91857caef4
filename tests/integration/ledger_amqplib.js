// node's amqplib as the clients of a ledger test: reads a job and writes notes, as told in
// src/warrener/drills/program.py. Kinds: `publisher` (a window of confirms) and `consumer` (acks
// one by one), `multiple-consumer` (acks some at once). Without its opt-in recovery.

'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
// This file lies beside the folder that the library is installed in.
const amqp = require(require.resolve('amqplib', { paths: [`${__dirname}/node`] }));

const LEAST = 40;
const TICK = 10; // ms
const ACK_EVERY = 15;

const now = () => Number(process.hrtime.bigint()) / 1e9;
const note = (kind, ...values) => {
  fs.writeSync(1, `${JSON.stringify([now(), kind, ...values])}\n`);
};
let stopping = false; // told to, and closing
let failed = false;
const trouble = (kind, text) => {
  if (stopping) return;
  failed = true;
  note('trouble', kind, String(text));
};

function bodyOf(number, size) {
  const text = `${number}/${size};`;
  return Buffer.alloc(size, text);
}

function deliveredNumber(content, redelivered) {
  const head = content.subarray(0, LEAST).toString('latin1');
  const found = /^(\d+)\/(\d+);/.exec(head);
  const whole = found && Number(found[2]) === content.length
    && content.equals(bodyOf(found[1], content.length));
  if (!whole) {
    note('damaged', `${content.length} bytes that begin with ${head}`);
    return null;
  }
  const number = Number(found[1]);
  note('delivered', number, redelivered);
  return number;
}

function acked(number) {
  if (number !== null) note('acked', number);
}

// Resolves when told to stop, or when there is nothing left to do.
function watch(connection, channel, told) {
  return new Promise((resolve) => {
    told.then(resolve);
    connection.on('error', (error) => trouble('connection closed', error));
    connection.on('close', (error) => {
      trouble('connection closed', error || 'closed');
      resolve();
    });
    connection.on('blocked', (reason) => note('remark', `blocked: ${reason}`));
    connection.on('unblocked', () => note('remark', 'unblocked'));
    channel.on('error', (error) => trouble('channel closed', error));
    channel.on('close', () => {
      trouble('channel closed', 'closed');
      resolve();
    });
  });
}

async function publish(job, connection, told) {
  const channel = await connection.createConfirmChannel();
  const end = watch(connection, channel, told);
  channel.on('return', (message) => {
    const number = Number(message.content.toString('latin1').split('/')[0]);
    note('returned', number, message.fields.replyCode);
  });
  let next = job.first_number;
  let open = 0;
  let doneUntil = now();
  const timer = setInterval(() => {
    doneUntil = Math.max(doneUntil, now() - 0.1); // as Pace
    let due = Math.min(Math.floor((now() - doneUntil) * job.rate), job.window - open);
    for (; due > 0; due -= 1) {
      const number = next;
      next += 1;
      doneUntil += 1 / job.rate;
      const big = job.big_every
        && (number - job.first_number) % job.big_every === job.big_every - 1;
      open += 1;
      note('published', number);
      channel.publish(
        '', job.queue, bodyOf(number, big ? job.big_size : job.size),
        { persistent: true, mandatory: true },
        (error) => {
          open -= 1;
          if (failed) return;
          note(error ? 'refused' : 'confirmed', number);
        },
      );
    }
  }, TICK);
  await end;
  clearInterval(timer);
  if (!failed) await channel.waitForConfirms();
}

async function consume(job, connection, told) {
  const channel = await connection.createChannel();
  const end = watch(connection, channel, told);
  const multiple = job.kind === 'multiple-consumer';
  let taken = [];
  let working = 0;
  let lastTag = 0;
  const ackTaken = () => {
    if (taken.length === 0 || failed) return;
    channel.ack(taken[taken.length - 1][0], true);
    for (const [, number] of taken) acked(number);
    taken = [];
  };
  const timer = setInterval(ackTaken, 100);
  await channel.prefetch(job.prefetch);
  const { consumerTag } = await channel.consume(job.queue, (message) => {
    if (message === null) {
      trouble('consumer cancelled', job.queue);
      return;
    }
    if (message.fields.deliveryTag <= lastTag) {
      trouble('complaint', `delivery tag ${message.fields.deliveryTag} after ${lastTag}`);
    }
    lastTag = message.fields.deliveryTag;
    const number = deliveredNumber(message.content, message.fields.redelivered);
    if (multiple) {
      taken.push([message, number]);
      if (taken.length >= ACK_EVERY) ackTaken();
      return;
    }
    working += 1;
    setTimeout(() => {
      working -= 1;
      if (failed) return;
      channel.ack(message);
      acked(number);
    }, job.work * 1000);
  });
  await end;
  if (!failed) {
    await channel.cancel(consumerTag);
    while (working > 0) await new Promise((resolve) => { setTimeout(resolve, TICK); });
    ackTaken();
  }
  clearInterval(timer);
}

async function main() {
  const lines = readline.createInterface({ input: process.stdin });
  const waiting = lines[Symbol.asyncIterator]();
  const job = JSON.parse((await waiting.next()).value);
  const told = waiting.next();
  const connection = await amqp.connect(`${job.url}?heartbeat=${job.heartbeat}`, {
    clientProperties: { connection_name: job.name },
  });
  await (job.kind === 'publisher' ? publish : consume)(job, connection, told);
  if (!failed) {
    stopping = true;
    await connection.close();
    note('ended');
  }
  process.exit(failed ? 1 : 0);
}

main().catch((error) => {
  trouble('exception', error.stack || error);
  process.exit(1);
});
