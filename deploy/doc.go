// Package deploy owns what an operator takes to a machine: the container image, the compose file, the systemd unit, the
// example configuration, the Grafana dashboard and the alerts. It has no code but the tests that hold these files to the
// program: every setting is listed, every metric exists, the unit is sound and confined.
package deploy
