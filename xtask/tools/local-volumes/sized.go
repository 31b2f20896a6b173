package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// SizedProvisioner makes volumes that enforce their size and grow while they are mounted: each is a
// file system of its own, in memory. A file system in a loop device would need CAP_SYS_RESOURCE to
// grow, which root does not have on every machine that runs a lab. What is on such a volume survives
// its pods and ends with the node.
const SizedProvisioner = "lab.tikv.org/sized"

// sizedDisks makes volumes as disks does and mounts a file system of the asked size on each.
type sizedDisks struct {
	disks
	// run holds run/<node>/machine.pid: whose mounts the node's are.
	run string
}

// Provision makes the directory, then mounts a file system on it. It is idempotent, as both steps are.
func (d sizedDisks) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	volume, state, err := d.disks.Provision(ctx, o)
	if err != nil {
		return nil, state, err
	}
	size := volume.Spec.Capacity[v1.ResourceStorage]
	if err := d.mount(ctx, o.SelectedNodeName, volume.Spec.Local.Path, size.Value()); err != nil {
		return nil, controller.ProvisioningInBackground, err
	}
	return volume, controller.ProvisioningFinished, nil
}

// Delete unmounts the file system, and its data with it, and removes its directory.
func (d sizedDisks) Delete(ctx context.Context, volume *v1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "not a local volume"}
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	node := filepath.Base(filepath.Dir(filepath.Dir(path)))
	if mounted, err := d.mounted(node, path); err != nil {
		return err
	} else if mounted {
		if err := d.onNode(ctx, node, "umount", path); err != nil {
			return err
		}
	}
	return d.disks.Delete(ctx, volume)
}

func (d sizedDisks) mount(ctx context.Context, node, path string, size int64) error {
	if mounted, err := d.mounted(node, path); err != nil || mounted {
		return err
	}
	return d.onNode(ctx, node, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0755", size), "sized", path)
}

func (d sizedDisks) mounted(node, path string) (bool, error) {
	holder, err := d.holder(node)
	if err != nil {
		return false, err
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", holder))
	return strings.Contains(string(mounts), " "+path+" "), err
}

// holder is the process whose mounts are the node's.
func (d sizedDisks) holder(node string) (int, error) {
	record, err := os.ReadFile(filepath.Join(d.run, node, "machine.pid"))
	if err != nil {
		return 0, fmt.Errorf("the node %s does not run: %w", node, err)
	}
	words := strings.Fields(string(record))
	if len(words) == 0 {
		return 0, fmt.Errorf("the record of the node %s is empty", node)
	}
	return strconv.Atoi(words[0])
}

func (d sizedDisks) onNode(ctx context.Context, node string, command ...string) error {
	holder, err := d.holder(node)
	if err != nil {
		return err
	}
	return run(ctx, append([]string{"nsenter", "--target", strconv.Itoa(holder), "--mount", "--"}, command...)...)
}

func run(ctx context.Context, command ...string) error {
	output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// growAll grows the volumes whose claims ask for more, once a second, until ctx ends. It is to these
// volumes what a CSI driver's resizer is to others: the API server admits the larger request (the
// class allows it), and who grew the volume writes its capacity.
func (d sizedDisks) growAll(ctx context.Context, client kubernetes.Interface) {
	for ctx.Err() == nil {
		claims, err := client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			klog.Errorf("cannot list the claims: %v", err)
		} else {
			for i := range claims.Items {
				if err := d.grow(ctx, client, &claims.Items[i]); err != nil {
					klog.Errorf("claim %s/%s does not grow: %v", claims.Items[i].Namespace, claims.Items[i].Name, err)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (d sizedDisks) grow(ctx context.Context, client kubernetes.Interface, claim *v1.PersistentVolumeClaim) error {
	wanted, has := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	if claim.Annotations["volume.kubernetes.io/storage-provisioner"] != SizedProvisioner ||
		claim.Status.Phase != v1.ClaimBound || wanted.Cmp(has) <= 0 {
		return nil
	}
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	node := filepath.Base(filepath.Dir(filepath.Dir(path)))
	if err := d.onNode(ctx, node, "mount", "-o", fmt.Sprintf("remount,size=%d", wanted.Value()), path); err != nil {
		return err
	}
	capacity := v1.ResourceList{v1.ResourceStorage: wanted}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"capacity": capacity}})
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	patch, err = json.Marshal(map[string]any{"status": map[string]any{"capacity": capacity}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
