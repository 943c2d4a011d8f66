package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// photograph makes a picture of a page with Chromium.
func photograph(ctx context.Context, html, png string, width, height int) error {
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
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+png, "file://"+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a picture of %s: %w\n%s", html, err, out)
	}
	if _, err := os.Stat(png); err != nil {
		return fmt.Errorf("making a picture of %s: Chromium has written none: %w", html, err)
	}
	return nil
}
