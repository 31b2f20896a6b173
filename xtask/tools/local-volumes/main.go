// Command local-volumes is the lab's dynamic volume provisioner: a directory per claim on the disk of
// the node that the scheduler chose, bound to that node as a real local disk is.
//
// Claims, late binding, retries, events and deletion are Kubernetes' own provisioner library; here is
// only what a volume is. It needs no helper pods, because every node's disk is a directory of this
// machine. Of the class "local" sizes are recorded and not enforced, and volumes do not grow; volumes
// of the class "sized" do both (sized.go).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Provisioner is the name that a StorageClass says to get these volumes.
const Provisioner = "lab.tikv.org/local"

// disks makes volumes under root/<node>/volumes.
type disks struct{ root string }

func (d disks) path(node, volume string) (string, error) {
	// Both are object names; a separator in one would leave the node's directory.
	if node == "" || volume == "" || strings.ContainsAny(node+volume, "/\\") || node == ".." || volume == ".." {
		return "", fmt.Errorf("no directory for volume %q on node %q", volume, node)
	}
	return filepath.Join(d.root, node, "volumes", volume), nil
}

// Provision makes the directory. It is idempotent: the same claim gets the same directory again.
func (d disks) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, fmt.Errorf("the storage class must wait for the first consumer: a local volume needs its node first")
	}
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("a claim with a selector cannot be provisioned")
	}
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode != v1.ReadWriteOnce && mode != v1.ReadWriteOncePod {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s is not possible with a local volume", mode)
		}
	}
	path, err := d.path(o.SelectedNodeName, o.PVName)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Owned by root and closed to others, as a freshly made file system is: a pod of another user
	// needs an fsGroup here just as it does in production.
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	mode := v1.PersistentVolumeFilesystem
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			VolumeMode:                    &mode,
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{
					Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName},
				}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the directory of a volume that this program made, and refuses any other path.
func (d disks) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "not a local volume"}
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	node := filepath.Base(filepath.Dir(filepath.Dir(path)))
	if want, err := d.path(node, volume.Name); err != nil || want != path {
		return &controller.IgnoredError{Reason: fmt.Sprintf("%s is not a directory of this lab", path)}
	}
	return os.RemoveAll(path)
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	root := flag.String("root", "", "the directory that holds one directory per node")
	run := flag.String("run", "", "the directory that holds one directory per node with its processes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil || *root == "" {
		klog.Fatalf("--kubeconfig and --root are needed: %v", err)
	}
	// The default of five requests a second would make a cluster's volumes wait for each other.
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Fatal(err)
	}
	local := disks{root: *root}
	sized := sizedDisks{disks: local, run: *run}
	go sized.growAll(ctx, client)
	go controller.NewProvisionController(ctx, client, SizedProvisioner, sized,
		controller.LeaderElection(false), controller.Threadiness(4)).Run(ctx)
	controller.NewProvisionController(ctx, client, Provisioner, local,
		controller.LeaderElection(false), controller.Threadiness(16)).Run(ctx)
}
