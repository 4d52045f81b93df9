#!/usr/bin/env python3
"""A tour with the official Python client: apply, follow, look inside, clean up.

    pip install kubernetes
    KUBECONFIG=… python tour.py

Needs a node and the image docker.io/library/busybox:1 (see ../../images).
"""
import sys
from kubernetes import client, config, dynamic, watch
from kubernetes.stream import portforward, stream

SPACE = "tour-python"
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{
                "name": "web",
                "image": "docker.io/library/busybox:1",
                "command": ["sh", "-c", "mkdir /www; hostname >/www/index.html; echo serving; exec httpd -f -p 8080 -h /www"],
            }]},
        },
    },
}

config.load_kube_config()
core, api = client.CoreV1Api(), client.ApiClient()
core.create_namespace({"metadata": {"name": SPACE}})
try:
    # Server-side apply through the dynamic client: the same call makes and changes, for any kind.
    deployments = dynamic.DynamicClient(api).resources.get(api_version="apps/v1", kind="Deployment")
    applied = deployments.server_side_apply(body=WEB, namespace=SPACE, field_manager="tour")

    # A list, then a watch from its revision: nothing is missed in between.
    now = deployments.get(namespace=SPACE)
    following = watch.Watch()
    for event in deployments.watch(namespace=SPACE, name="web", timeout=60, watcher=following,
                                   resource_version=now.metadata.resourceVersion):
        ready = event["raw_object"].get("status", {}).get("readyReplicas", 0)
        print(event["type"], "ready:", ready)
        if ready == WEB["spec"]["replicas"]:
            following.stop()
    pods = core.list_namespaced_pod(SPACE, label_selector="app=web").items
    if not pods or any(pod.status.phase != "Running" for pod in pods):
        sys.exit("the pods did not start within a minute: kubectl -n tour-python describe pods")
    name = pods[0].metadata.name

    print("log:", core.read_namespaced_pod_log(name, SPACE).strip())
    print("exec:", stream(core.connect_get_namespaced_pod_exec, name, SPACE, command=["cat", "/www/index.html"],
                          stdout=True, stderr=True).strip())
    tunnel = portforward(core.connect_get_namespaced_pod_portforward, name, SPACE, ports="8080").socket(8080)
    tunnel.setblocking(True)
    tunnel.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print("forwarded:", tunnel.recv(4096).split(b"\r\n")[0].decode())
finally:
    core.delete_namespace(SPACE)
