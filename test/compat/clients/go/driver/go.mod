module ottla-compat/driver

go 1.26
