// A tour with the official JavaScript client: an informer, three ways to change an object, exec, logs.
//
//     npm install @kubernetes/client-node      (version 2 wants Node 22, version 1 runs on Node 20)
//     KUBECONFIG=… node tour.mjs
//
// Needs a node and the image docker.io/library/busybox:1 (see ../../images).
import * as k8s from '@kubernetes/client-node';
import { PassThrough } from 'node:stream';
import { once } from 'node:events';

const namespace = 'tour-javascript';
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

await core.createNamespace({ body: { metadata: { name: namespace } } });
try {
  // The informer lists once, then watches; its cache answers without asking the server.
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const informer = k8s.makeInformer(config, path, () => core.listNamespacedPod({ namespace }));
  const running = new Promise((resolve) => {
    const look = (pod) => {
      console.log('pod', pod.metadata.name, pod.status.phase);
      if (pod.status.phase === 'Running') resolve(pod);
    };
    informer.on('add', look);
    informer.on('update', look);
  });
  await informer.start();

  const greeter = {
    apiVersion: 'v1', kind: 'Pod', metadata: { name: 'greeter', namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: 'docker.io/library/busybox:1', command: ['sh', '-c', 'echo hello; exec sleep 3600'] }],
    },
  };
  await objects.create(greeter);
  const change = (metadata, how) => objects.patch(
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'greeter', namespace, ...metadata } },
    undefined, undefined, 'tour', how === k8s.PatchStrategy.ServerSideApply || undefined, how);
  await change({ labels: { by: 'merge' } }, k8s.PatchStrategy.MergePatch);
  await change({ annotations: { by: 'strategic' } }, k8s.PatchStrategy.StrategicMergePatch);
  const applied = await change({ labels: { tour: 'yes' } }, k8s.PatchStrategy.ServerSideApply);
  console.log('labels', applied.metadata.labels);

  const late = AbortSignal.timeout(60_000);
  const timeout = once(late, 'abort').then(() => { throw new Error('the pod did not start within a minute'); });
  await Promise.race([running, timeout]);
  const output = new PassThrough();
  output.on('data', (text) => console.log('exec:', String(text).trim()));
  const status = await new Promise((resolve, reject) =>
    new k8s.Exec(config).exec(namespace, 'greeter', 'main', ['uname', '-m'], output, null, null, false, resolve).catch(reject));
  console.log('exec ended with', status.status);
  console.log('log:', (await core.readNamespacedPodLog({ namespace, name: 'greeter' })).trim());
  await informer.stop();
} finally {
  await core.deleteNamespace({ name: namespace });
}
process.exit();
