# What labmon runs on Windows: the counterpart of probe.sh, with the same parts for the same parser. Written
# after Microsoft's descriptions of these classes, and not yet tried on Windows.
#
# It comes on the standard input of Windows PowerShell 5.1, which every Windows has; what starts it there, and
# calls Round again for each line `next`, is in probe.py. The words that probe.sh finds in its arguments are in
# $asked. Each class is asked by itself: what one cannot tell costs only itself.
#
# Counters are printed raw, one line each, numbers without a locale's signs. Names are quoted.
$ErrorActionPreference = 'SilentlyContinue'
$ProgressPreference = 'SilentlyContinue'
[Threading.Thread]::CurrentThread.CurrentCulture = [Globalization.CultureInfo]::InvariantCulture
[Console]::OutputEncoding = New-Object Text.UTF8Encoding $false

function Say([string]$line) { [Console]::Out.Write($line + "`n") }
function Ask([string]$class, [string]$filter) {
	if ($filter) { Get-CimInstance -ClassName $class -Filter $filter } else { Get-CimInstance -ClassName $class }
}

# Of the processors, in their mean: the time that has passed, and the part of it that they idled, in units of
# 100 ns.
function Sample {
	Say '#sample'
	$system = Ask 'Win32_PerfRawData_PerfOS_System'
	if ($system.Frequency_Object) {
		$up = ($system.Timestamp_Object - $system.SystemUpTime) / [double]$system.Frequency_Object
		Say ('uptime {0:F3}' -f $up)
	}
	if ($system) { Say "event ctxt $($system.ContextSwitchesPersec)" }
	$all = @(Ask 'Win32_PerfRawData_PerfOS_Processor' "Name <> '_Total'")
	if ($all) {
		$passed = ($all | Measure-Object -Property Timestamp_Sys100NS -Average).Average
		$idle = ($all | Measure-Object -Property PercentIdleTime -Average).Average
		Say ('cpu {0:F0} {1:F0}' -f $passed, $idle)
	}
	$memory = Ask 'Win32_PerfRawData_PerfOS_Memory'
	if ($memory) { Say "event pgmajfault $($memory.PageReadsPersec)" }
	foreach ($one in Ask 'Win32_PerfRawData_Tcpip_NetworkInterface') {
		Say "link `"$($one.Name)`" $($one.BytesReceivedPersec) $($one.BytesSentPersec)"
	}
	foreach ($one in Ask 'Win32_PerfRawData_PerfDisk_PhysicalDisk' "Name <> '_Total'") {
		Say "disk `"$($one.Name)`" $($one.DiskReadBytesPersec) $($one.DiskWriteBytesPersec)"
	}
}

function Round {
	Say "`n#labmon 1 windows"

	# Cards on a bus are hardware, those below ROOT and SWD are software.
	Say '#hardware'
	foreach ($one in Ask 'Win32_NetworkAdapter' 'PhysicalAdapter = TRUE') {
		if ($one.PNPDeviceID -notmatch '^(ROOT|SWD)\\') { Say "link `"$($one.Name)`"" }
	}

	Say '#disks'
	foreach ($one in Ask 'Win32_DiskDrive') {
		Say "disk `"$($one.Size)`" `"$($one.InterfaceType)`" `"$($one.Capabilities)`" `"$($one.MediaType)`""
	}

	Say '#gpu'
	if (Get-Command nvidia-smi.exe) {
		$start = New-Object Diagnostics.ProcessStartInfo 'nvidia-smi.exe'
		$start.Arguments = '--format=csv,noheader,nounits --query-gpu=utilization.gpu,memory.used,memory.total,temperature.gpu'
		$start.UseShellExecute = $false
		$start.RedirectStandardOutput = $true
		$tool = [Diagnostics.Process]::Start($start)
		if ($tool.WaitForExit(5000)) { Say $tool.StandardOutput.ReadToEnd() } else { $tool.Kill(); Say 'hangs' }
	}

	if ($pause) { Sample; Start-Sleep -Seconds 1 }
	Sample

	Say '#time'
	$milliseconds = [DateTimeOffset]::UtcNow.ToUnixTimeMilliseconds()
	Say ('{0}.{1:000}' -f [Math]::Floor($milliseconds / 1000), ($milliseconds % 1000))

	Say '#now'
	if ($boot) { Say "boot $boot" }
	$system = Ask 'Win32_OperatingSystem'
	if ($system) { Say "memory $($system.TotalVisibleMemorySize) $($system.FreePhysicalMemory)" }
	foreach ($one in Ask 'Win32_PageFileUsage') { Say "pagefile $($one.AllocatedBaseSize) $($one.CurrentUsage)" }
	$disk = Ask 'Win32_LogicalDisk' "DeviceID = '$($env:SystemDrive)'"
	if ($disk) { Say "disk $($disk.Size) $($disk.FreeSpace)" }
	$processes = @(Get-Process)
	Say "processes $($processes.Count)"
	# Who sits here, or works from afar, has a desktop, and that has an explorer.
	$desktops = @($processes | Where-Object Name -eq 'explorer' | Select-Object -ExpandProperty SessionId -Unique)
	Say "users $($desktops.Count)"
	Say "`n#end"
}

$key = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters'
$boot = (Get-ItemProperty -Path $key -Name BootId).BootId
$pause = -not ($boot -and " $asked " -like "* since $boot *")
Round
$pause = $false
