// node's amqplib, once through everything that a program usually does. Called with an AMQP URL;
// prints one line of JSON with what it saw, exits 0. The test compares what it printed.

'use strict';
const assert = require('node:assert');
const { once } = require('node:events');
const amqp = require('amqplib');

const NUMBER = 100;

async function confirmsAndConsume(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.prefetch(10);
  const bodies = [];
  const done = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      bodies.push(message.content.toString());
      channel.ack(message);
      if (bodies.length === NUMBER) resolve();
    });
  });
  for (let n = 0; n < NUMBER; n += 1) {
    channel.sendToQueue(queue, Buffer.from(String(n)), { persistent: true, headers: { n } });
  }
  await channel.waitForConfirms();
  await done;
  assert.deepStrictEqual(bodies, Array.from({ length: NUMBER }, (_, n) => String(n)));
  await channel.close();
  return bodies.length;
}

async function getAndNack(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, Buffer.from('once more'));
  await channel.waitForConfirms();
  const first = await channel.get(queue);
  channel.nack(first, false, true);
  const second = await channel.get(queue, { noAck: true });
  const empty = await channel.get(queue);
  await channel.close();
  return [first.fields.redelivered, second.fields.redelivered, empty];
}

async function returned(connection) {
  const channel = await connection.createConfirmChannel();
  const back = once(channel, 'return');
  channel.publish('amq.direct', 'nowhere', Buffer.from('back'), { mandatory: true });
  await channel.waitForConfirms();
  const [message] = await back;
  await channel.close();
  return [message.fields.replyCode, message.content.toString()];
}

async function channelError(connection) {
  const channel = await connection.createChannel();
  const failed = once(channel, 'error');
  await assert.rejects(channel.checkQueue('no such queue'));
  const [error] = await failed;
  return error.code;
}

async function bigBody(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const body = Buffer.alloc(8 * 1024 * 1024, 'abcdefg');
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  const found = await channel.get(queue, { noAck: true });
  await channel.close();
  return found.content.equals(body);
}

async function refused(url) {
  const wrong = new URL(url);
  wrong.password = 'wrong';
  try {
    await amqp.connect(wrong.toString());
  } catch (error) {
    return /403 \(ACCESS[-_]REFUSED\)/.test(error.message);
  }
  return false;
}

async function main(url) {
  const connection = await amqp.connect(`${url}?heartbeat=5`);
  const seen = {
    consumed: await confirmsAndConsume(connection),
    redelivered: await getAndNack(connection),
    returned: await returned(connection),
    channelError: await channelError(connection),
    bigBody: await bigBody(connection),
    refused: await refused(url),
  };
  await connection.close();
  console.log(JSON.stringify(seen));
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
