package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

// sboms writes the software bills of materials of the image and of the plugin, SPDX 2.3. They
// list the modules that Go's linker has noted in the programs.
func (out *output) sboms(m multiImage, plugins []plugin) error {
	image := newBill(out.Options, project+"-image", m.digest.Hex)
	for _, name := range imagePrograms {
		var files []string
		for _, p := range m.platforms {
			files = append(files, filepath.Join(p.bin, name))
		}
		if err := image.program(name, files); err != nil {
			return err
		}
	}
	plugin := newBill(out.Options, pluginName, "")
	var files []string
	for _, p := range plugins {
		files = append(files, p.program)
	}
	if err := plugin.program(pluginName, files); err != nil {
		return err
	}
	if err := out.bill(project+"-"+out.plain()+"-image.spdx.json", image); err != nil {
		return err
	}
	return out.bill(pluginName+"-"+out.plain()+".spdx.json", plugin)
}

func (out *output) bill(name string, b *bill) error {
	return out.file(name, func(w io.Writer) error { return spdxjson.Write(b.document, w, spdxjson.Indent("  ")) })
}

// bill is a software bill of materials that grows.
type bill struct {
	document *spdx.Document
	version  string
	subject  common.ElementID
	modules  map[common.ElementID]bool // those that are in the document
}

// newBill returns a bill of something that has this name and, unless it is empty, this SHA-256.
func newBill(o Options, name, sha256 string) *bill {
	b := &bill{version: o.Version, modules: map[common.ElementID]bool{}, document: &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      name + "-" + o.plain(),
		DocumentNamespace: images.Source + "/spdx/" + name + "/" + o.Version + "/" + o.Commit,
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Organization", Creator: project}, {CreatorType: "Tool", Creator: "make release"}},
			Created:  o.Time.UTC().Format(time.RFC3339),
		},
	}}
	subject := b.ours(name)
	if sha256 != "" {
		subject.PrimaryPackagePurpose = "CONTAINER"
		subject.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: sha256}}
	}
	b.subject = subject.PackageSPDXIdentifier
	b.relate("DOCUMENT", common.TypeRelationshipDescribe, b.subject)
	return b
}

// program adds a program, which is the same in all these files except for the platform, and the
// modules that it contains.
func (b *bill) program(name string, files []string) error {
	id := b.subject
	if element("Package", name) != id {
		id = b.ours(name).PackageSPDXIdentifier
		b.relate(b.subject, common.TypeRelationshipContains, id)
	}
	modules := map[string]debug.Module{}
	for _, file := range files {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the modules of %s: %w", file, err)
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			modules[m.Path+"@"+m.Version] = *m
		}
		goVersion := strings.TrimPrefix(info.GoVersion, "go")
		modules["stdlib@"+goVersion] = debug.Module{Path: "stdlib", Version: goVersion}
	}
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		b.relate(id, common.TypeRelationshipDependsOn, b.module(modules[key]))
	}
	return nil
}

// ours adds a package of this project.
func (b *bill) ours(name string) *spdx.Package {
	p := &spdx.Package{
		PackageName: name, PackageVersion: b.version, PackageSPDXIdentifier: element("Package", name),
		PackageDownloadLocation: images.Source, PackageLicenseConcluded: "Apache-2.0", PackageLicenseDeclared: "Apache-2.0",
		PackageCopyrightText: "NOASSERTION", IsFilesAnalyzedTagPresent: true,
	}
	b.document.Packages = append(b.document.Packages, p)
	return p
}

// module adds a Go module unless it is there already, and returns its identifier. Go's standard
// library has the path "stdlib", as tools that look for vulnerabilities expect it.
func (b *bill) module(m debug.Module) common.ElementID {
	id := element("Module", m.Path+"-"+m.Version)
	if b.modules[id] {
		return id
	}
	b.modules[id] = true
	b.document.Packages = append(b.document.Packages, &spdx.Package{
		PackageName: m.Path, PackageVersion: m.Version, PackageSPDXIdentifier: id,
		PackageDownloadLocation: "NOASSERTION", PackageLicenseConcluded: "NOASSERTION", PackageLicenseDeclared: "NOASSERTION",
		PackageCopyrightText: "NOASSERTION", IsFilesAnalyzedTagPresent: true, PrimaryPackagePurpose: "LIBRARY",
		PackageExternalReferences: []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: "pkg:golang/" + m.Path + "@" + m.Version,
		}},
	})
	return id
}

func (b *bill) relate(from common.ElementID, how string, to common.ElementID) {
	b.document.Relationships = append(b.document.Relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, Relationship: how, RefB: common.DocElementID{ElementRefID: to},
	})
}

var notInElement = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// element returns an identifier of SPDX, which can have only letters, digits, dots and hyphens.
func element(kind, name string) common.ElementID {
	return common.ElementID(kind + "-" + notInElement.ReplaceAllString(name, "-"))
}
