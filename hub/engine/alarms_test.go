package engine

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Stop ends what has not begun, and waits for what has.
func TestAlarmsEndWithTheirOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarms
		var begun, ended, late atomic.Int32
		a.After(time.Second, func() { begun.Add(1); time.Sleep(time.Minute); ended.Add(1) })
		a.After(time.Hour, func() { late.Add(1) })
		time.Sleep(2 * time.Second)
		a.Stop()
		a.Stop()
		if begun.Load() != 1 || ended.Load() != 1 {
			t.Errorf("%d began and %d ended before Stop returned", begun.Load(), ended.Load())
		}
		a.After(time.Second, func() { late.Add(1) })
		time.Sleep(2 * time.Hour)
		if late.Load() != 0 {
			t.Errorf("%d alarms came after Stop", late.Load())
		}
	})
}
