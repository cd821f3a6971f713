import pytest

from labmon.collect.probe.temperature import cpu


# findings E4: processor before package before chip before board; never what is none of these
@pytest.mark.parametrize(
    "lines, celsius",
    [
        (["hwmon coretemp 51000 ", "hwmon coretemp 48000 Core 1"], 51.0),
        (["hwmon k10temp 90000 Tctl", "hwmon k10temp 63000 Tdie"], 63.0),
        (["hwmon zenpower 58000 Tccd1", "hwmon nct6775 99000 CPUTIN"], 58.0),
        (["hwmon via_cputemp 40000 "], 40.0),
        (["zone 48312 bcm2835_thermal"], 48.312),
        (["zone 47000 cpu-thermal"], 47.0),
        (["zone 45000 imx_thermal_zone"], 45.0),
        (["hwmon imx_thermal_zone 45000 "], 45.0),
        (["zone 41000 tsens_tz_sensor0", "zone 43000 tsens_tz_sensor5"], 43.0),
        (["zone 55000 soc-thermal", "zone 51000 cpu0-0-top-thermal", "zone 70000 gpuss-0-thermal"], 51.0),
        (["zone 60000 soc_thermal", "zone 62000 gpu_thermal"], 60.0),
        (
            ["zone 52000 CPU-therm", "zone 61000 GPU-therm", "zone 56000 SOC0-therm", "zone 61000 tj-therm"],
            52.0,
        ),
        (
            ["zone 49000 BCPU-therm", "zone 50500 MCPU-therm", "zone 80000 PMIC-Die", "zone 77000 AO-therm"],
            50.5,
        ),
        (["zone 58000 tj-thermal", "zone 54000 soc0-thermal", "zone 60000 PMIC-Die"], 58.0),
        (["zone 50000 bigcore0-thermal", "zone 46000 littlecore-thermal", "zone 66000 center-thermal"], 50.0),
        (["zone 44000 ddr-controller", "zone 47000 core-cluster"], 47.0),
        (["zone 62000 x86_pkg_temp", "zone 27800 acpitz", "zone 70000 pch_cannonlake"], 62.0),
        (["zone 61050 TCPU", "zone 62000 x86_pkg_temp", "zone 20000 INT3400 Thermal"], 61.05),
        (["zone 61000 B0D4", "zone 66050 TMEM"], 61.0),
        (["hwmon thinkpad 57000 CPU", "hwmon thinkpad 90000 GPU"], 57.0),
        (["hwmon apm_xgene 52000 SoC Temperature"], 52.0),
        (["hwmon scpi_sensors 41000 CPU0", "zone 44000 soc-thermal"], 44.0),
        (["hwmon nct6775 110000 CPUTIN"], None),
        (["hwmon drivetemp 38000 ", "hwmon nvme 52000 Composite", "hwmon amdgpu 70000 edge"], None),
        (["zone 66000 modem-core0-thermal", "zone 35000 battery", "zone 41000 wlan"], None),
        (["zone -256000 cpu-thermal", "zone 0 cpu-thermal", "zone 51000 soc-thermal"], 51.0),
        (["hwmon coretemp  ", "zone  cpu-thermal", "hwmon coretemp 99999999 Core 0", "nonsense"], None),
    ],
)
def test_the_processors_own_sensor_is_told_by_its_name(lines, celsius):
    assert cpu(lines).get("cpu_temperature_celsius") == celsius
