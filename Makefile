# The commands of this project; `make help` lists them.
.DEFAULT_GOAL := help
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION ?= v0.1.0
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
# grpcnotrace: GoBGP needs the types of gRPC. The tracing of gRPC would keep the linker
# from removing unused code: the speaker would have 70 MB instead of 41, and would use
# 16 MB more memory.
TAGS := grpcnotrace
LDFLAGS := -s -w -X k8s.io/component-base/version.gitVersion=$(VERSION) -X k8s.io/component-base/version.gitCommit=$(COMMIT)
# What `make build` builds, and the directory for it.
PROGRAMS ?= ./cmd/...
BIN ?= bin/
# The modules with Go code, beside the root module. All others only build programs.
MODULES := test test/chart test/monitoring test/tools/licenses test/tools/release
export CGO_ENABLED ?= 0
# The tests on a cluster read these; see CONTRIBUTING.md.
export KEEP

.PHONY: help build licenses test unit integration e2e cni suite versions attack lint fuzz demo demo-down bench image release clean

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# buildvcs=false: the same files give the same programs, with and without the history of git.
build: ## Build the two programs and the plugin of kubectl, static, into bin/
	go build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN) $(PROGRAMS)

licenses: ## Write the licenses of all Go modules in PROGRAMS to bin/THIRD_PARTY_LICENSES
	cd test/tools/licenses && go run . -root '$(CURDIR)' -tags $(TAGS) -platforms '$(PLATFORMS)' -o '$(abspath $(BIN))/THIRD_PARTY_LICENSES' $(PROGRAMS)

test: unit integration ## Run all tests: first those without root, then those that need it (minutes)

unit: ## Run the tests that need neither root nor a network, with the race detector
	./hack/need gcc='gcc libc6-dev'
	CGO_ENABLED=1 go test -race -short ./...
	cd test/tools/licenses && go test .
	go test -run HostileInput ./pkg/config # memory can be measured only without the race detector

integration: ## Run the tests with real packets, routers and a real Kubernetes (root); RUN=TestX runs some of those on Kubernetes, PROXY=iptables changes kube-proxy, KEEP=1 keeps the cluster
ifeq ($(RUN),)
	./hack/need bird=bird2 vtysh=frr nft=nftables chromium=chromium
	./hack/need qemu-aarch64-static=qemu-user-static skopeo=skopeo
	# A release is compiled while the tests on the wire wait for routers most of the time.
	(cd test/tools/release && nice -n 19 go test -count=1 -timeout 30m .) & release=$$!; \
	go test -count=1 -timeout 15m ./speaker/wire && wait $$release
	cd test/chart && go test -count=1 .
	cd test/monitoring && go test -count=1 ./...
	cd test && go test -count=1 -timeout 40m -skip '^TestSpread' ./cluster ./integration ./schema ./tutorial ./browser ./cmd/...
	cd test && go test -count=1 -timeout 20m -run '^TestSpread' ./integration # on a cluster of their own, without old connections
else
	cd test && PROXY=$(PROXY) go test -count=1 -v -timeout $(if $(KEEP),0,40m) -run '$(RUN)' ./integration
endif

e2e: ## Test image, manifests, chart and tutorial on nodes with kubelets (root; minutes)
	cd test && go test -count=1 -v -timeout $(if $(KEEP),0,30m) $(if $(RUN),-run '$(RUN)') ./e2e

# The tests that matter for the network of the pods. Most of them are also integration tests.
CNI_TESTS := ClientGetsThePageOverIPv4AndIPv6|OwnerIsTheOnlyNodeThatAnswers|TakeoverWhenTheOwnerDies
CNI_TESTS := $(CNI_TESTS)|PodsReachTheAddressFromEveryNode|LocalPolicyAnnouncesOnlyOnNodesWithEndpoints|ClosedPortIsRefusedByTheOwner
CNI_TESTS := $(CNI_TESTS)|SpreadSharesConnectionsEvenly|SpreadKeepsClientAddressesWithLocalPolicy
CNI_TESTS := $(CNI_TESTS)|BGPRouterSpreadsConnectionsOverAllNodes|LocalPolicyRoutesOnlyToNodesWithEndpoints|SpeakerNeedsItsOwnAddressBesideKubeRouter
NETWORK ?= flannel-vxlan flannel-host-gw kube-router

cni: ## Test with flannel and kube-router between nodes with kubelets (root; minutes); NETWORK=kube-router runs one of flannel-vxlan, flannel-host-gw, kube-router
	for network in $(NETWORK); do (echo "== $$network" && cd test && NETWORK=$$network go test -count=1 -v -timeout $(if $(KEEP),0,20m) -run '$(or $(RUN),^Test($(CNI_TESTS))$$)' ./integration) || exit; done

attack: ## Attack the speakers: a day in simulated time, and ATTACK=5m on a cluster (root)
	HOURS=$(or $(HOURS),24) go test -count=1 -v -run 'Attack' ./speaker/layer2 ./speaker/heartbeat ./speaker/bfd
	cd test && ATTACK=$(or $(ATTACK),5m) go test -count=1 -v -timeout 0 -run 'TestAttacker' ./integration

suite: ## Run Kubernetes' own tests of load balancers, with PROTOCOL=layer2, spread or bgp (root; 20 minutes)
	cd test && go run ./cmd/suite -protocol=$(or $(PROTOCOL),layer2) -report=../docs/reference/kubernetes-suite/$(or $(PROTOCOL),layer2).xml

versions: ## Run the integration tests on the older minor versions of Kubernetes (root; half an hour)
	for version in v1.36 v1.35; do (cd test && KUBERNETES=$$version go test -count=1 -timeout 40m ./integration) || exit; done

lint: ## Check format, vet and staticcheck, in all modules, and known vulnerabilities
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	go vet ./... && go run $(STATICCHECK) ./...
	for module in $(MODULES); do (cd $$module && go vet ./... && go run $(STATICCHECK) ./...) || exit; done
	cd test/tools/coredns && go vet .
	./hack/vulncheck

fuzz: ## Fuzz everything that parses bytes, a minute each
	go test -run '^$$' -fuzz FuzzParse -fuzztime 1m ./pkg/config
	go test -run '^$$' -fuzz FuzzText -fuzztime 1m ./pkg/configmap
	go test -run '^$$' -fuzz FuzzConvert -fuzztime 1m ./pkg/metallb
	go test -run '^$$' -fuzz FuzzAnswerARP -fuzztime 1m ./speaker/layer2
	go test -run '^$$' -fuzz FuzzAnswerNS -fuzztime 1m ./speaker/layer2
	go test -run '^$$' -fuzz FuzzOpen -fuzztime 1m ./speaker/heartbeat
	go test -run '^$$' -fuzz FuzzWelcome -fuzztime 1m ./speaker/heartbeat
	go test -run '^$$' -fuzz FuzzDecode -fuzztime 1m ./speaker/members
	go test -run '^$$' -fuzz FuzzPacket -fuzztime 1m ./speaker/bfd
	go test -run '^$$' -fuzz FuzzFramesOfAnyForm -fuzztime 1m ./speaker/capture
	go test -run '^$$' -fuzz FuzzReadCapture -fuzztime 1m ./pkg/debugapi
	go test -run '^$$' -fuzz FuzzBearerToken -fuzztime 1m ./speaker/access
	go test -run '^$$' -fuzz FuzzParse -fuzztime 1m ./pkg/speakerapi
	go test -run '^$$' -fuzz FuzzHeader -fuzztime 1m ./cmd/kubectl-baremetal
	go test -run '^$$' -fuzz FuzzIsLoopback -fuzztime 1m ./pkg/ui

demo: ## Show the whole story on a cluster in namespaces (root); KEEP=1 leaves it up, FULL=1 has kubelets
	cd test && go run ./cmd/demo $(if $(KEEP),-keep) $(if $(FULL),-full)

demo-down: ## End a demo that was left up
	cd test && go run ./cmd/demo -down

bench: ## Run the benchmarks; for failover see hack/bench-failover
	go test -run '^$$' -bench . ./...

image: ## Build the container image
	docker build --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' --build-arg CREATED=$$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ) -t 'cloud-provider-baremetal:$(VERSION)' .

# make gives both variables to the shell in the environment. In the text of the command, the shell
# would run what is in them.
release: ## Build all files of a release into dist/: VERSION=v0.2.0, IMAGE_REPOSITORY=where your nodes pull the image
ifeq ($(origin VERSION),file)
	@echo 'Name the version: make release VERSION=v0.2.0' >&2; exit 1
endif
	cd test/tools/release && go run . -version "$$VERSION" -image-repository "$$IMAGE_REPOSITORY" -output '$(CURDIR)/dist'

clean: ## Remove what was built here
	rm -rf bin dist
