// Package test holds what is shipped for Kubernetes against its own types. It is a module of its own: the product needs none of them.
package test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// kinds are those that are shipped. Another one is added here, or it is an error.
var kinds = map[string]func() any{
	"v1/ServiceAccount":                  func() any { return &corev1.ServiceAccount{} },
	"v1/Service":                         func() any { return &corev1.Service{} },
	"batch/v1/CronJob":                   func() any { return &batchv1.CronJob{} },
	"apps/v1/Deployment":                 func() any { return &appsv1.Deployment{} },
	"networking.k8s.io/v1/NetworkPolicy": func() any { return &networkingv1.NetworkPolicy{} },
}

// decode reads one document strictly: a field that Kubernetes does not have, or twice, is an error.
func decode(document []byte) (any, error) {
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(document, &head); err != nil {
		return nil, err
	}
	make, found := kinds[head.APIVersion+"/"+head.Kind]
	if !found {
		return nil, &unknownKind{head.APIVersion + "/" + head.Kind}
	}
	object := make()
	return object, yaml.UnmarshalStrict(document, object, yaml.DisallowUnknownFields)
}

type unknownKind struct{ kind string }

func (e *unknownKind) Error() string { return "unknown kind " + e.kind }

func objects(t *testing.T) map[string][]any {
	t.Helper()
	paths, err := filepath.Glob("../kubernetes/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v %v", paths, err)
	}
	out := map[string][]any{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(b, []byte("\n---\n")) {
			o, err := decode(document)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			out[path] = append(out[path], o)
		}
	}
	return out
}

func TestManifests(t *testing.T) {
	accounts, pods := map[string]bool{}, 0
	all := objects(t)
	for _, list := range all {
		for _, o := range list {
			if a, ok := o.(*corev1.ServiceAccount); ok {
				accounts[a.Name] = true
			}
		}
	}
	for path, list := range all {
		var services []*corev1.Service
		var templates []corev1.PodTemplateSpec
		for _, o := range list {
			switch o := o.(type) {
			case *corev1.Service:
				services = append(services, o)
			case *batchv1.CronJob:
				cronJob(t, path, o)
				templates = append(templates, o.Spec.JobTemplate.Spec.Template)
			case *appsv1.Deployment:
				deployment(t, path, o)
				templates = append(templates, o.Spec.Template)
			}
		}
		for i := range templates {
			pods++
			pod(t, path, &templates[i].Spec)
			if name := templates[i].Spec.ServiceAccountName; !accounts[name] {
				t.Errorf("%s: no service account %q is shipped", path, name)
			}
		}
		for _, s := range services {
			service(t, path, s, templates)
		}
	}
	if pods < 2 {
		t.Errorf("only %d pods were looked at", pods)
	}
}

func cronJob(t *testing.T, path string, c *batchv1.CronJob) {
	if !regexp.MustCompile(`^(\S+ ){4}\S+$`).MatchString(c.Spec.Schedule) || c.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Errorf("%s: schedule %q, concurrency %q", path, c.Spec.Schedule, c.Spec.ConcurrencyPolicy)
	}
	job := c.Spec.JobTemplate.Spec
	if job.ActiveDeadlineSeconds == nil {
		t.Errorf("%s: a job that hangs is never ended", path)
	}
	if job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("%s: its pod failure policy wants restartPolicy Never", path)
	}
	if job.PodFailurePolicy == nil {
		t.Fatalf("%s: a verdict is asked for again and again: no pod failure policy", path)
	}
	for _, rule := range job.PodFailurePolicy.Rules {
		if name := rule.OnExitCodes.ContainerName; name != nil && *name != job.Template.Spec.Containers[0].Name {
			t.Errorf("%s: there is no container %s", path, *name)
		}
		for i, code := range rule.OnExitCodes.Values {
			if i > 0 && code <= rule.OnExitCodes.Values[i-1] {
				t.Errorf("%s: exit codes must ascend: %v", path, rule.OnExitCodes.Values)
			}
		}
	}
}

func deployment(t *testing.T, path string, d *appsv1.Deployment) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
		t.Errorf("%s: the selector does not match the pods: %v", path, err)
	}
	if d.Spec.Template.Annotations["prometheus.io/port"] != "9465" || d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort != 9465 {
		t.Errorf("%s: the port that is scraped is not the one that listens", path)
	}
}

func service(t *testing.T, path string, s *corev1.Service, templates []corev1.PodTemplateSpec) {
	for i := range templates {
		if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(templates[i].Labels)) {
			for _, port := range templates[i].Spec.Containers[0].Ports {
				if port.Name == s.Spec.Ports[0].TargetPort.StrVal {
					return
				}
			}
		}
	}
	t.Errorf("%s: service %s leads nowhere", path, s.Name)
}

// pod wants what the restricted pod security standard wants, and limits.
func pod(t *testing.T, path string, p *corev1.PodSpec) {
	if p.SecurityContext == nil || p.SecurityContext.RunAsNonRoot == nil || !*p.SecurityContext.RunAsNonRoot || p.SecurityContext.SeccompProfile == nil {
		t.Errorf("%s: the pod may run as root, or without seccomp", path)
	}
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
		t.Errorf("%s: the pod gets a token that it does not need", path)
	}
	volumes := map[string]bool{}
	for _, v := range p.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range p.Containers {
		s := c.SecurityContext
		if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s: container %s has rights that it does not need", path, c.Name)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s: container %s has no limits", path, c.Name)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] || !m.ReadOnly {
				t.Errorf("%s: volume %s of container %s", path, m.Name, c.Name)
			}
		}
	}
}

// What is wrong is found: or the test above proves nothing.
func TestWrongManifestsAreRefused(t *testing.T) {
	for _, document := range []string{
		"apiVersion: batch/v1\nkind: CronJob\nspec:\n  schedul: x\n",
		"apiVersion: batch/v1\nkind: CronJob\nspec:\n  jobTemplate:\n    spec:\n      backoffLimit: many\n",
		"apiVersion: v1\nkind: Service\nspec:\n  ports:\n    - {name: a, name: b}\n",
		"apiVersion: batch/v1beta1\nkind: CronJob\n",
	} {
		if _, err := decode([]byte(document)); err == nil {
			t.Errorf("this was taken:\n%s", document)
		}
	}
}
