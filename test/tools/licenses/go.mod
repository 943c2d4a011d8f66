module github.com/baremetal-lb/cloud-provider-baremetal/test/tools/licenses

go 1.26.0
