// A device plugin that offers accelerators which do not exist, so that a cluster without GPUs accounts for them:
//
//	gpus nvidia.com/gpu 4
//
// Pods get the identities of theirs in NVIDIA_VISIBLE_DEVICES, as NVIDIA's plugin does it.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const poll = 200 * time.Millisecond

type plugin struct {
	kubelet.UnimplementedDevicePluginServer
	devices []*kubelet.Device
}

func (*plugin) GetDevicePluginOptions(context.Context, *kubelet.Empty) (*kubelet.DevicePluginOptions, error) {
	return &kubelet.DevicePluginOptions{}, nil
}

// ListAndWatch tells the devices once: their health never changes.
func (p *plugin) ListAndWatch(_ *kubelet.Empty, stream kubelet.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&kubelet.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (*plugin) Allocate(_ context.Context, request *kubelet.AllocateRequest) (*kubelet.AllocateResponse, error) {
	response := &kubelet.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		visible := map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")}
		response.ContainerResponses = append(response.ContainerResponses, &kubelet.ContainerAllocateResponse{Envs: visible})
	}
	return response, nil
}

func main() {
	resource, count, err := arguments(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	devices := make([]*kubelet.Device, count)
	for i := range devices {
		devices[i] = &kubelet.Device{ID: fmt.Sprintf("GPU-%d", i), Health: kubelet.Healthy}
	}
	for {
		// A kubelet that starts removes every plugin's socket: then serve and register anew.
		if err := serve(resource, &plugin{devices: devices}); err != nil {
			log.Println(err)
			time.Sleep(poll)
		}
	}
}

func arguments(args []string) (resource string, count int, err error) {
	if len(args) != 2 || !strings.Contains(args[0], "/") {
		return "", 0, fmt.Errorf("usage: gpus RESOURCE COUNT, such as: gpus nvidia.com/gpu 4")
	}
	if count, err = strconv.Atoi(args[1]); err != nil || count < 1 {
		return "", 0, fmt.Errorf("gpus: the count must be 1 or more, not %q", args[1])
	}
	return args[0], count, nil
}

// serve returns when the plugin's socket is gone, or with the error that kept it from being registered.
func serve(resource string, p *plugin) error {
	socket := filepath.Join(kubelet.DevicePluginPath, strings.ReplaceAll(resource, "/", "-")+".sock")
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	kubelet.RegisterDevicePluginServer(server, p)
	go server.Serve(listener)
	defer server.Stop()
	if err := register(resource, filepath.Base(socket)); err != nil {
		return err
	}
	log.Println("registered", len(p.devices), resource)
	for err == nil {
		time.Sleep(poll)
		_, err = os.Stat(socket)
	}
	return nil
}

func register(resource, endpoint string) error {
	connection, err := grpc.NewClient("unix://"+kubelet.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = kubelet.NewRegistrationClient(connection).Register(ctx, &kubelet.RegisterRequest{
		Version:      kubelet.Version,
		Endpoint:     endpoint,
		ResourceName: resource,
		Options:      &kubelet.DevicePluginOptions{},
	})
	return err
}
