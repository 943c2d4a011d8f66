package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	imagedraw "image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// photograph makes a picture of a page with Chromium.
func photograph(ctx context.Context, html, picture string, width, height int) error {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("making a picture of %s: Chromium is missing, install it with apt-get install chromium: %w", html, err)
	}
	path, err := filepath.Abs(html)
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "draw-dashboard-chromium")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	// For root, Chromium has no sandbox. The page is our own.
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+profile,
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+picture, "file://"+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a picture of %s: %w\n%s", html, err, out)
	}
	return shrink(picture)
}

// shrink writes a picture again with the 256 colors that it has most often. A page has few colors, and the edges
// of letters have many: the file becomes less than half as large.
func shrink(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the picture of Chromium: %w", err)
	}
	full, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("reading the picture of Chromium: %w", err)
	}
	counts := map[color.RGBA]int{}
	size := full.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			counts[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	var colors color.Palette
	for _, c := range most[:min(256, len(most))] {
		colors = append(colors, c)
	}
	small := image.NewPaletted(size, colors)
	imagedraw.Draw(small, size, full, size.Min, imagedraw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
